package authsvc

import (
	"encoding/binary"
	"maps"
	"slices"

	authapiv1 "github.com/authsvc/authsvc/clients/go/authapi/v1"
)

// view is what is known of revocations at one moment: immutable, read by every check without a lock. Applying a fact
// twice is harmless, and nothing once dead comes back.
type view struct {
	sessions, users *layers
	apps            map[string]appFact
	withdrawn       map[string]struct{}
	// hasUnknown: something was revoked that this version does not know. Only a new snapshot without it mends that.
	hasUnknown bool
	// complete: a whole snapshot has come. Before that only withdrawals and dead things count, and nothing is alive.
	complete bool
	position uint64
	cursor   []byte
}

type appFact struct {
	position uint64
	reason   uint8
}

func emptyView() *view {
	return &view{sessions: newLayers(noFacts, false), users: newLayers(noFacts, true)}
}

func (v *view) len() int {
	return v.sessions.len() + v.users.len() + len(v.apps) + len(v.withdrawn)
}

// death says what killed a token, the nearest cause first.
func (v *view) death(token *verifiedToken) *Refusal {
	if token.hasSession && v.sessions.len() > 0 {
		if reason, dead := v.sessions.session(&token.session); dead {
			return &Refusal{SessionRevoked, EndReason(reason)}
		}
	}
	if v.users.len() > 0 {
		for _, user := range [...]*id{&token.user, &token.userInApp} {
			if reason, dead := v.users.above(user, token.claims.Position); dead {
				return &Refusal{UserRevoked, EndReason(reason)}
			}
		}
	}
	if len(v.apps) > 0 {
		if app, held := v.apps[token.claims.AppID]; held && token.claims.Position < app.position {
			return &Refusal{AppRevoked, EndReason(app.reason)}
		}
	}
	return nil
}

// batch gathers facts of one message, or of one snapshot's parts, before they become a view.
type batch struct {
	sessions, users []fact
	apps            map[string]appFact
	withdrawn       map[string]struct{}
	hasUnknown      bool
}

func newBatch() *batch {
	return &batch{apps: map[string]appFact{}, withdrawn: map[string]struct{}{}}
}

func (b *batch) addAll(revocations []*authapiv1.Revocation) {
	for _, revocation := range revocations {
		b.add(revocation)
	}
}

func (b *batch) add(revocation *authapiv1.Revocation) {
	entry := fact{until: forever, reason: uint8(revocation.GetReason())}
	if until := revocation.GetUsefulUntil(); until != nil {
		entry.until = untilSeconds(until.AsTime())
	}
	target, isKey := revocation.GetTarget().(*authapiv1.Revocation_KeyId)
	if isKey {
		b.withdrawn[target.KeyId] = struct{}{}
		return
	}
	raw := revocation.GetPosition()
	switch target := revocation.GetTarget().(type) {
	case *authapiv1.Revocation_SessionId:
		if len(target.SessionId) != idBytes {
			b.hasUnknown = true
			return
		}
		entry.id = id(target.SessionId)
		b.sessions = append(b.sessions, entry)
	case *authapiv1.Revocation_UserId:
		if len(raw) != 8 {
			b.hasUnknown = true
			return
		}
		entry.id = userID(target.UserId, revocation.GetAppFilter())
		entry.position = binary.BigEndian.Uint64(raw)
		b.users = append(b.users, entry)
	case *authapiv1.Revocation_AppId:
		if len(raw) != 8 {
			b.hasUnknown = true
			return
		}
		b.addApp(target.AppId, appFact{binary.BigEndian.Uint64(raw), entry.reason})
	default:
		b.hasUnknown = true
	}
}

func (b *batch) addApp(app string, entry appFact) {
	if held, known := b.apps[app]; !known || entry.position > held.position {
		b.apps[app] = entry
	}
}

func (b *batch) addPacked(groups []*authapiv1.PackedSessions) {
	for _, group := range groups {
		entry := fact{until: forever, reason: uint8(group.GetReason())}
		if until := group.GetUsefulUntil(); until != nil {
			entry.until = untilSeconds(until.AsTime())
		}
		ids := group.GetIds()
		if len(ids)%idBytes != 0 {
			b.hasUnknown = true
			continue
		}
		for ; len(ids) > 0; ids = ids[idBytes:] {
			entry.id = id(ids[:idBytes])
			b.sessions = append(b.sessions, entry)
		}
	}
}

// snapshot returns the view that a whole snapshot makes. It replaces old, but for withdrawals: those are for ever.
func (b *batch) snapshot(old *view) *view {
	for kid := range old.withdrawn {
		b.withdrawn[kid] = struct{}{}
	}
	// Order within a snapshot means nothing, and this sort is thrice as fast for a million as the stable one, which then
	// has nothing to do.
	slices.SortFunc(b.sessions, byID)
	return &view{
		sessions:   newLayers(newFacts(b.sessions, false), false),
		users:      newLayers(newFacts(b.users, true), true),
		apps:       b.apps,
		withdrawn:  b.withdrawn,
		hasUnknown: b.hasUnknown,
		complete:   true,
	}
}

// changes returns old with more facts. now is in seconds since 1970.
func (b *batch) changes(old *view, now int64) *view {
	next := *old
	if len(b.sessions) > 0 {
		next.sessions = old.sessions.with(b.sessions, now)
	}
	if len(b.users) > 0 {
		next.users = old.users.with(b.users, now)
	}
	if len(b.apps) > 0 {
		next.apps = maps.Clone(old.apps)
		if next.apps == nil {
			next.apps = map[string]appFact{}
		}
		for app, entry := range b.apps {
			if held, known := next.apps[app]; !known || entry.position > held.position {
				next.apps[app] = entry
			}
		}
	}
	if len(b.withdrawn) > 0 {
		next.withdrawn = maps.Clone(old.withdrawn)
		if next.withdrawn == nil {
			next.withdrawn = map[string]struct{}{}
		}
		maps.Copy(next.withdrawn, b.withdrawn)
	}
	next.hasUnknown = old.hasUnknown || b.hasUnknown
	return &next
}
