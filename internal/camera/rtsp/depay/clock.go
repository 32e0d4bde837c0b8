package depay

// A clock unwraps RTP time stamps to 64 bits: differences count as the shorter
// way round.
type clock struct {
	at      int64
	started bool
}

func (c *clock) extend(ts uint32) int64 {
	if !c.started {
		c.started, c.at = true, int64(ts)
		return c.at
	}
	c.at += int64(int32(ts - uint32(c.at)))
	return c.at
}
