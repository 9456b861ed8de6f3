"""Approvals, questions, trees and turns are kept alike in memory and on real tables (Azurite)."""

from __future__ import annotations

import pytest

from aos.adapters.memory import (
    MemoryConversationStore,
    MemoryDecisions,
    MemoryQuestions,
    MemoryRequestStore,
    MemoryTables,
)
from aos.adapters.tables import AzureTables
from aos.ports.asks import Decisions, Questions
from aos.ports.conversations import ConversationStore
from aos.ports.requests import RequestStore
from tests.contract.approval_suites import TreeSuite, TurnsSuite
from tests.contract.ask_suites import DecisionsSuite, QuestionsSuite


class TestAzureDecisions(DecisionsSuite):
    @pytest.fixture
    def asks(self, tables: AzureTables) -> Decisions:
        return tables.decisions()


class TestAzureQuestions(QuestionsSuite):
    @pytest.fixture
    def asks(self, tables: AzureTables) -> Questions:
        return tables.questions()


class TestAzure(TreeSuite, TurnsSuite):
    @pytest.fixture
    def requests(self, tables: AzureTables) -> RequestStore:
        return tables.requests()

    @pytest.fixture
    def conversations(self, tables: AzureTables) -> ConversationStore:
        return tables.conversations()


class TestMemoryDecisions(DecisionsSuite):
    @pytest.fixture
    def asks(self) -> Decisions:
        return MemoryDecisions(MemoryTables())


class TestMemoryQuestions(QuestionsSuite):
    @pytest.fixture
    def asks(self) -> Questions:
        return MemoryQuestions(MemoryTables())


class TestMemory(TreeSuite, TurnsSuite):
    @pytest.fixture
    def requests(self) -> RequestStore:
        return MemoryRequestStore(MemoryTables())

    @pytest.fixture
    def conversations(self) -> ConversationStore:
        return MemoryConversationStore(MemoryTables())
