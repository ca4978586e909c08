"""
authsvc turns a mini-program's `wx.login` code into a login that every internal service can trust.

The package is layered; imports point downwards only and import-linter proves it:
`cli > supervisor > app > config > rpc | edge | ops > storage | wechat | sandbox | keys | system > telemetry |
status > service > ports > domain`.
"""
