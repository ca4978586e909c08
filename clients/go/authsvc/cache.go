package authsvc

import (
	"crypto/sha256"
	"sync"
	"sync/atomic"
)

// verifiedToken is what is remembered of a token whose signature, type, issuer and lifetime hold: never a verdict.
type verifiedToken struct {
	claims          Claims
	times           instants
	kid             string
	session         id
	user, userInApp id
	hasSession      bool
	cost            int
	// used: asked for since the eviction last passed by.
	used atomic.Bool
}

// entryOverhead is what a remembered token costs besides its text: the value, the map's slot and the queue's.
const entryOverhead = 640

// tokenCache remembers verified tokens under SHA-256 of their whole text (never of a signature, jti or kid: a forged
// payload with a stolen signature would hit), bounded by memory. Who was not asked for goes first.
type tokenCache struct {
	shards [cacheShards]cacheShard
}

const cacheShards = 64

type digest = [sha256.Size]byte

type cacheShard struct {
	mu    sync.RWMutex
	held  map[digest]*verifiedToken
	queue []digest // what is held, the oldest at first
	first int
	cost  int
	limit int
	_     [64]byte // keeps shards apart in the processors' caches
}

func newTokenCache(limit int) *tokenCache {
	cache := &tokenCache{}
	for i := range cache.shards {
		cache.shards[i].held = map[digest]*verifiedToken{}
		cache.shards[i].limit = limit / cacheShards
	}
	return cache
}

func (c *tokenCache) get(key *digest) *verifiedToken {
	shard := &c.shards[key[0]%cacheShards]
	shard.mu.RLock()
	token := shard.held[*key]
	shard.mu.RUnlock()
	if token != nil && !token.used.Load() {
		token.used.Store(true)
	}
	return token
}

// put remembers a token; now is in seconds since 1970.
func (c *tokenCache) put(key *digest, token *verifiedToken, now int64) {
	shard := &c.shards[key[0]%cacheShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if _, known := shard.held[*key]; known || token.cost > shard.limit {
		return
	}
	for shard.cost+token.cost > shard.limit {
		shard.evict(now)
	}
	shard.held[*key] = token
	shard.queue = append(shard.queue, *key)
	shard.cost += token.cost
}

// evict drops the oldest that is past its end or was not asked for; the others get a second chance.
func (s *cacheShard) evict(now int64) {
	for {
		key := s.queue[s.first]
		s.first++
		if s.first > len(s.queue)/2 {
			s.queue = append(make([]digest, 0, len(s.queue)), s.queue[s.first:]...)
			s.first = 0
		}
		token := s.held[key]
		if token.times.expires+leewaySeconds > now && token.used.Swap(false) {
			s.queue = append(s.queue, key)
			continue
		}
		delete(s.held, key)
		s.cost -= token.cost
		return
	}
}

// sweep forgets what is past its end; now is in seconds since 1970.
func (c *tokenCache) sweep(now int64) {
	for i := range c.shards {
		shard := &c.shards[i]
		shard.mu.Lock()
		kept := make([]digest, 0, len(shard.held))
		for _, key := range shard.queue[shard.first:] {
			if token := shard.held[key]; token.times.expires+leewaySeconds > now {
				kept = append(kept, key)
			} else {
				delete(shard.held, key)
				shard.cost -= token.cost
			}
		}
		shard.queue, shard.first = kept, 0
		shard.mu.Unlock()
	}
}

func (c *tokenCache) len() int {
	total := 0
	for i := range c.shards {
		c.shards[i].mu.RLock()
		total += len(c.shards[i].held)
		c.shards[i].mu.RUnlock()
	}
	return total
}
