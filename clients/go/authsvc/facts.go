package authsvc

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"time"
)

// facts is an immutable sorted set of what died, by 128-bit id: 21 bytes for a session, 29 for a user.
//
// Sorted by id, so that a lookup is a search in a few cache lines and a million facts are four allocations that the
// garbage collector never looks into.
type facts struct {
	ids       []id
	positions []uint64 // empty for sessions, where every position is killed
	until     []uint32 // seconds since 1970; forever where there is no end
	reasons   []uint8
	// starts[p] is where ids with the upper 16 bits p begin; nil where a plain search is as good.
	starts []uint32
}

// fact is one entry of a set.
type fact struct {
	id       id
	position uint64
	until    uint32
	reason   uint8
}

const (
	forever       = math.MaxUint32
	indexedFrom   = 4096
	indexPrefixes = 1 << 16
)

var noFacts = &facts{}

func (f *facts) len() int { return len(f.ids) }

// find returns where an id stands.
func (f *facts) find(wanted *id) (int, bool) {
	low, high := 0, len(f.ids)
	if f.starts != nil {
		prefix := int(binary.BigEndian.Uint16(wanted[:2]))
		low, high = int(f.starts[prefix]), int(f.starts[prefix+1])
	}
	first, second := binary.BigEndian.Uint64(wanted[:8]), binary.BigEndian.Uint64(wanted[8:])
	for low < high {
		middle := int(uint(low+high) >> 1)
		here := &f.ids[middle]
		upper := binary.BigEndian.Uint64(here[:8])
		if upper < first || (upper == first && binary.BigEndian.Uint64(here[8:]) < second) {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low, low < len(f.ids) && f.ids[low] == *wanted
}

func (f *facts) at(i int) fact {
	entry := fact{id: f.ids[i], until: f.until[i], reason: f.reasons[i]}
	if len(f.positions) > 0 {
		entry.position = f.positions[i]
	}
	return entry
}

func byID(a, b fact) int { return bytes.Compare(a.id[:], b.id[:]) }

// newFacts sorts facts and joins those about one id: of a session the first in the list stands.
func newFacts(list []fact, withPositions bool) *facts {
	slices.SortStableFunc(list, byID)
	built := makeFacts(len(list), withPositions)
	for _, entry := range list {
		built.add(entry)
	}
	built.index()
	return built
}

func makeFacts(size int, withPositions bool) *facts {
	made := &facts{ids: make([]id, 0, size), until: make([]uint32, 0, size), reasons: make([]uint8, 0, size)}
	if withPositions {
		made.positions = make([]uint64, 0, size)
	}
	return made
}

// add appends a fact whose id is not below the last one; one about the same id is joined with it.
func (f *facts) add(entry fact) {
	last := len(f.ids) - 1
	if last < 0 || f.ids[last] != entry.id {
		f.ids = append(f.ids, entry.id)
		f.until = append(f.until, entry.until)
		f.reasons = append(f.reasons, entry.reason)
		if f.positions != nil {
			f.positions = append(f.positions, entry.position)
		}
		return
	}
	f.until[last] = max(f.until[last], entry.until)
	// Of a session the first reason stands; of a user the fact that reaches furthest.
	if f.positions != nil && entry.position > f.positions[last] {
		f.positions[last], f.reasons[last] = entry.position, entry.reason
	}
}

func (f *facts) index() {
	if len(f.ids) < indexedFrom {
		return
	}
	f.starts = make([]uint32, indexPrefixes+1)
	at := 0
	for prefix := range indexPrefixes {
		f.starts[prefix] = uint32(at)
		for at < len(f.ids) && int(binary.BigEndian.Uint16(f.ids[at][:2])) == prefix {
			at++
		}
	}
	f.starts[indexPrefixes] = uint32(at)
}

// merge returns both sets in one, the older first, without what nobody needs at now (seconds since 1970).
func merge(older, newer *facts, now int64, withPositions bool) *facts {
	merged := makeFacts(older.len()+newer.len(), withPositions)
	i, j := 0, 0
	for i < older.len() || j < newer.len() {
		var entry fact
		if j == newer.len() || (i < older.len() && bytes.Compare(older.ids[i][:], newer.ids[j][:]) <= 0) {
			entry = older.at(i)
			i++
		} else {
			entry = newer.at(j)
			j++
		}
		if entry.until == forever || int64(entry.until) > now {
			merged.add(entry)
		}
	}
	merged.index()
	return merged
}

// layers is an immutable set in three sorted layers, so that a new fact costs a copy of the small ones only.
type layers struct {
	base, middle, recent *facts
	withPositions        bool
}

const (
	recentLimit = 256
	middleLimit = 16384
)

func newLayers(base *facts, withPositions bool) *layers {
	return &layers{base: base, middle: noFacts, recent: noFacts, withPositions: withPositions}
}

func (l *layers) len() int { return l.base.len() + l.middle.len() + l.recent.len() }

// with returns the set with more facts in it.
func (l *layers) with(list []fact, now int64) *layers {
	next := *l
	next.recent = merge(l.recent, newFacts(list, l.withPositions), now, l.withPositions)
	if next.recent.len() > recentLimit {
		next.middle = merge(l.middle, next.recent, now, l.withPositions)
		next.recent = noFacts
	}
	if next.middle.len() > max(middleLimit, l.base.len()/16) {
		next.base = merge(l.base, next.middle, now, l.withPositions)
		next.middle = noFacts
	}
	return &next
}

// session returns the reason a session died for; the oldest fact's.
func (l *layers) session(wanted *id) (reason uint8, dead bool) {
	for _, layer := range [...]*facts{l.base, l.middle, l.recent} {
		if layer.len() == 0 {
			continue
		}
		if i, found := layer.find(wanted); found {
			return layer.reasons[i], true
		}
	}
	return 0, false
}

// above returns the furthest reaching fact about an id, if it reaches above a position.
func (l *layers) above(wanted *id, position uint64) (reason uint8, dead bool) {
	furthest := position
	for _, layer := range [...]*facts{l.base, l.middle, l.recent} {
		if layer.len() == 0 {
			continue
		}
		if i, found := layer.find(wanted); found && layer.positions[i] > furthest {
			furthest, reason, dead = layer.positions[i], layer.reasons[i], true
		}
	}
	return reason, dead
}

// untilSeconds rounds up: a fact is never forgotten before its time.
func untilSeconds(until time.Time) uint32 {
	seconds := until.Unix()
	if until.Nanosecond() > 0 {
		seconds++
	}
	return uint32(min(max(seconds, 0), forever-1))
}
