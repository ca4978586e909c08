package authsvc

// Waiting returns how many questions wait for a call, so that a test knows when all of its callers have come.
func (c *AuthClient) Waiting() int {
	c.ask.mu.Lock()
	defer c.ask.mu.Unlock()
	return len(c.ask.waiting)
}
