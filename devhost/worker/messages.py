"""Defines the messages between the Functions host and its Python worker. Entry point: `messages`.

They are real protobuf messages: as in Azure, an unknown field or a value of another type is an
error. Names and types are those of the host's protocol, as far as the worker and the apps use it.
"""

from __future__ import annotations

import struct
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

LENGTH = struct.Struct("!I")
"""The length field before each message on the socket."""
PACKAGE = "AzureFunctionsRpcMessages"
_SCALARS = {
    "string": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    "bytes": descriptor_pb2.FieldDescriptorProto.TYPE_BYTES,
    "bool": descriptor_pb2.FieldDescriptorProto.TYPE_BOOL,
    "int32": descriptor_pb2.FieldDescriptorProto.TYPE_INT32,
    "sint64": descriptor_pb2.FieldDescriptorProto.TYPE_SINT64,
    "double": descriptor_pb2.FieldDescriptorProto.TYPE_DOUBLE,
}
# Each field: name, number, type. `*`: repeated, `%`: a map from strings, `|`: one of a group,
# `#`: an enum.
_MESSAGES = {
    "StreamingMessage": """
        request_id 1 string
        invocation_request 4 |InvocationRequest
        invocation_response 5 |InvocationResponse
        function_load_request 8 |FunctionLoadRequest
        function_load_response 9 |FunctionLoadResponse
        worker_init_response 16 |WorkerInitResponse
        worker_init_request 17 |WorkerInitRequest
        functions_metadata_request 29 |FunctionsMetadataRequest
        function_metadata_response 30 |FunctionMetadataResponse""",
    "WorkerInitRequest": """
        host_version 1 string
        capabilities 2 %string
        worker_directory 4 string
        function_app_directory 5 string""",
    "WorkerInitResponse": """
        worker_version 1 string
        capabilities 2 %string
        result 3 StatusResult
        worker_metadata 4 WorkerMetadata""",
    "WorkerMetadata": """
        runtime_name 1 string
        runtime_version 2 string
        worker_version 3 string
        worker_bitness 4 string
        custom_properties 5 %string""",
    "StatusResult": """
        result 1 string
        exception 2 RpcException
        status 4 #Status""",
    "RpcException": """
        stack_trace 1 string
        message 2 string
        source 3 string""",
    "FunctionsMetadataRequest": "function_app_directory 1 string",
    "FunctionMetadataResponse": """
        function_metadata_results 1 *RpcFunctionMetadata
        result 2 StatusResult
        use_default_metadata_indexing 3 bool""",
    "RpcFunctionMetadata": """
        directory 1 string
        script_file 2 string
        entry_point 3 string
        name 4 string
        bindings 6 %BindingInfo
        is_proxy 7 bool
        language 9 string
        raw_bindings 10 *string
        function_id 13 string
        managed_dependency_enabled 14 bool
        retry_options 15 RpcRetryOptions
        properties 16 %string""",
    "RpcRetryOptions": "max_retry_count 2 int32",
    "BindingInfo": """
        type 2 string
        direction 3 #Direction
        data_type 4 #DataType
        properties 5 %string""",
    "FunctionLoadRequest": """
        function_id 1 string
        metadata 2 RpcFunctionMetadata""",
    "FunctionLoadResponse": """
        function_id 1 string
        result 2 StatusResult""",
    "InvocationRequest": """
        invocation_id 1 string
        function_id 2 string
        input_data 3 *ParameterBinding
        trigger_metadata 4 %TypedData
        trace_context 5 RpcTraceContext
        retry_context 6 RetryContext""",
    "RpcTraceContext": """
        trace_parent 1 string
        trace_state 2 string
        attributes 3 %string""",
    "RetryContext": """
        retry_count 1 int32
        max_retry_count 2 int32
        exception 3 RpcException""",
    "InvocationResponse": """
        invocation_id 1 string
        output_data 2 *ParameterBinding
        result 3 StatusResult
        return_value 4 TypedData""",
    "ParameterBinding": """
        name 1 string
        data 2 |TypedData""",
    "TypedData": """
        string 1 |string
        json 2 |string
        bytes 3 |bytes
        stream 4 |bytes
        http 5 |RpcHttp
        int 6 |sint64
        double 7 |double""",
    "RpcHttp": """
        method 1 string
        url 2 string
        headers 3 %string
        body 4 TypedData
        params 10 %string
        status_code 12 string
        query 15 %string
        enable_content_negotiation 16 bool
        cookies 19 *RpcHttpCookie""",
    # The apps set no cookies, so a cookie is an error here and is not lost silently.
    "RpcHttpCookie": "name 1 string",
}
_ENUMS: dict[str, dict[str, tuple[str, ...]]] = {
    "StatusResult": {"Status": ("Failure", "Success", "Cancelled")},
    "BindingInfo": {
        "Direction": ("in", "out", "inout"),
        "DataType": ("undefined", "string", "binary", "stream"),
    },
}
_GROUPS = {"StreamingMessage": "content", "ParameterBinding": "rpc_data", "TypedData": "data"}


class Messages:
    """The message classes as attributes. The worker uses it like the module that protoc makes."""

    def __init__(self) -> None:
        pool = descriptor_pool.DescriptorPool()
        pool.Add(_make_file())
        for name in _MESSAGES:
            descriptor = pool.FindMessageTypeByName(f"{PACKAGE}.{name}")
            setattr(self, name, message_factory.GetMessageClass(descriptor))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the protocol of devhost/worker/messages.py has no {name!r}")


def frame(message: Any) -> bytes:
    """Return a message in the form that is sent over the socket."""
    data: bytes = message.SerializeToString()
    return LENGTH.pack(len(data)) + data


def _make_file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="worker.proto", package=PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        if name in _GROUPS:
            message.oneof_decl.add(name=_GROUPS[name])
        for enum, values in _ENUMS.get(name, {}).items():
            declared = message.enum_type.add(name=enum)
            for index, value in enumerate(values):
                declared.value.add(name=value, number=index)
        for line in fields.strip().splitlines():
            field, number, kind = line.split()
            _add_field(message, field, int(number), kind)
    return file


def _add_field(message: Any, name: str, number: int, kind: str) -> None:
    plain = kind.lstrip("*%|#")
    field = message.field.add(name=name, number=number, label=1)
    if kind[0] in "*%":
        field.label = 3
    if kind[0] == "|":
        field.oneof_index = 0
    if kind[0] == "%":
        entry = "".join(word.capitalize() for word in name.split("_")) + "Entry"
        nested = message.nested_type.add(name=entry)
        nested.options.map_entry = True
        _add_field(nested, "key", 1, "string")
        _add_field(nested, "value", 2, plain)
        field.type_name = f".{PACKAGE}.{message.name}.{entry}"
    elif kind[0] == "#":
        field.type_name = f".{PACKAGE}.{message.name}.{plain}"
        field.type = descriptor_pb2.FieldDescriptorProto.TYPE_ENUM
    elif plain in _SCALARS:
        field.type = _SCALARS[plain]
    else:
        field.type_name = f".{PACKAGE}.{plain}"


messages: Any = Messages()
