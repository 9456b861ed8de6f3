"""Which Python and which messages does Microsoft's worker get?"""
