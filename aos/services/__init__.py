"""Use cases of the three apps, one module or package each. Entry points: `runs`, `admission`,
`execution`, `tool_calls`, `catalog`.

A service uses ports only. Services do not import each other, except that all may read runs.
"""
