"""
What every backend of ports.Store must do, one class per noun.

A backend's test module imports the classes and defines the fixture `backend` (`world.Backend`); the cases know
nothing else of it.
"""

from tests.storage.conformance.apps import TestAppEndings
from tests.storage.conformance.codes import TestLoginCodes
from tests.storage.conformance.delivery import TestDelivery
from tests.storage.conformance.endings import TestSessionEndings
from tests.storage.conformance.identities import TestIdentities
from tests.storage.conformance.listings import TestListings
from tests.storage.conformance.log import TestLog
from tests.storage.conformance.logins import TestLogins
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
from tests.storage.conformance.signing_keys import TestSigningKeys
from tests.storage.conformance.users import TestUserEndings

__all__ = [
    "TestAppEndings",
    "TestCodeRetention",
    "TestCompaction",
    "TestCounting",
    "TestDelivery",
    "TestErasure",
    "TestFinding",
    "TestIdentities",
    "TestImports",
    "TestListings",
    "TestLog",
    "TestLoginCodes",
    "TestLogins",
    "TestPhones",
    "TestRaces",
    "TestRefreshes",
    "TestResealing",
    "TestSessionEndings",
    "TestSessionRetention",
    "TestSigningKeys",
    "TestUserEndings",
]
