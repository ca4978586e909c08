"""
What the use cases need of the world, as Protocols whose docstrings state the obligations.

Absence is an ordinary answer (`None`, `False`); exceptions are the domain's own. An adapter translates its driver's
errors: above it only `StoreUnavailable` and the errors of `domain.errors` exist. Every method may be cancelled by
its caller; a write that was begun then still completes or rolls back as a whole.
"""

from authsvc.ports.audit import AuditEntry, AuditQuery, AuditTrail, Origin, Unsealed, current_origin
from authsvc.ports.callers import CallerRecords, CallerStore
from authsvc.ports.keys import KeyMaterial, Rings, Sealer, Signer, VerificationKey
from authsvc.ports.observation import CallRecord, Event, Observer
from authsvc.ports.outcomes import (
    ExternalIdHeld,
    HeldMerge,
    Linking,
    Merged,
    MergeProblem,
    MergeRefused,
    Opened,
    Opening,
    Rotation,
    RotationRefused,
    SessionQuery,
    SigningKeyRecord,
    Split,
    T_co,
    UserIsBlocked,
    Written,
)
from authsvc.ports.people import PersonStore
from authsvc.ports.personal_data import (
    ByExternalId,
    ByIdentity,
    ByPhone,
    ByUnionid,
    IdentityRecord,
    ImportedUser,
    ImportOutcome,
    Person,
    PersonalDataStore,
    Reseal,
    Resealed,
    ResealPhone,
    SealedKey,
)
from authsvc.ports.store import Housekeeping, KeyStore, RevocationLog, SessionStore, Store
from authsvc.ports.wechat import CodeSession, DecryptUserData, NewSessionKey, PhoneNumber, WeChat
from authsvc.ports.world import Clock, Entropy

__all__ = [
    "AuditEntry",
    "AuditQuery",
    "AuditTrail",
    "ByExternalId",
    "ByIdentity",
    "ByPhone",
    "ByUnionid",
    "CallRecord",
    "CallerRecords",
    "CallerStore",
    "Clock",
    "CodeSession",
    "DecryptUserData",
    "Entropy",
    "Event",
    "ExternalIdHeld",
    "HeldMerge",
    "Housekeeping",
    "IdentityRecord",
    "ImportOutcome",
    "ImportedUser",
    "KeyMaterial",
    "KeyStore",
    "Linking",
    "MergeProblem",
    "MergeRefused",
    "Merged",
    "NewSessionKey",
    "Observer",
    "Opened",
    "Opening",
    "Origin",
    "Person",
    "PersonStore",
    "PersonalDataStore",
    "PhoneNumber",
    "Reseal",
    "ResealPhone",
    "Resealed",
    "RevocationLog",
    "Rings",
    "Rotation",
    "RotationRefused",
    "SealedKey",
    "Sealer",
    "SessionQuery",
    "SessionStore",
    "Signer",
    "SigningKeyRecord",
    "Split",
    "Store",
    "T_co",
    "Unsealed",
    "UserIsBlocked",
    "VerificationKey",
    "WeChat",
    "Written",
    "current_origin",
]
