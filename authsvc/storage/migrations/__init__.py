"""
The schema's history: one module per revision in `versions`, applied by `authsvc.storage.versions.migrate`.

A revision spells its tables out instead of importing `schema`, because it must still mean the same when `schema` has
moved on.
"""
