"""
What every backend of ports.Store must do, one class per noun.

A backend's test module imports the classes and defines the fixture `backend` (`world.Backend`); the cases know
nothing else of it.
"""

from tests.storage.conformance.apps import TestAppEndings
from tests.storage.conformance.auditing import TestAuditReading, TestAuditRows, TestAuditTogether
from tests.storage.conformance.callers import TestCallers
from tests.storage.conformance.codes import TestLoginCodes
from tests.storage.conformance.decisions import TestDecisions
from tests.storage.conformance.delivery import TestDelivery
from tests.storage.conformance.endings import TestSessionEndings
from tests.storage.conformance.holding import TestHolding
from tests.storage.conformance.identities import TestIdentities
from tests.storage.conformance.legacy import TestLegacy
from tests.storage.conformance.linking import TestLinking, TestLinkingTheBlocked
from tests.storage.conformance.listings import TestListings
from tests.storage.conformance.log import TestLog
from tests.storage.conformance.logins import TestLogins
from tests.storage.conformance.merge_races import TestMergeRaces
from tests.storage.conformance.merges import TestMerges
from tests.storage.conformance.personal_data import (
    TestErasure,
    TestFinding,
    TestImports,
    TestPhones,
    TestResealing,
)
from tests.storage.conformance.races import TestRaces
from tests.storage.conformance.refreshes import TestRefreshes
from tests.storage.conformance.retention import (
    TestCodeRetention,
    TestCompaction,
    TestCounting,
    TestSessionRetention,
)
from tests.storage.conformance.sealing import TestAuditErasure, TestAuditRetention, TestSealing
from tests.storage.conformance.signing_keys import TestSigningKeys
from tests.storage.conformance.splits import TestSplits
from tests.storage.conformance.users import TestUserEndings

__all__ = [
    "TestAppEndings",
    "TestAuditErasure",
    "TestAuditReading",
    "TestAuditRetention",
    "TestAuditRows",
    "TestAuditTogether",
    "TestCallers",
    "TestCodeRetention",
    "TestCompaction",
    "TestCounting",
    "TestDecisions",
    "TestDelivery",
    "TestErasure",
    "TestFinding",
    "TestHolding",
    "TestIdentities",
    "TestImports",
    "TestLegacy",
    "TestLinking",
    "TestLinkingTheBlocked",
    "TestListings",
    "TestLog",
    "TestLoginCodes",
    "TestLogins",
    "TestMergeRaces",
    "TestMerges",
    "TestPhones",
    "TestRaces",
    "TestRefreshes",
    "TestResealing",
    "TestSealing",
    "TestSessionEndings",
    "TestSessionRetention",
    "TestSigningKeys",
    "TestSplits",
    "TestUserEndings",
]
