package bucket

// PretendAWS makes a client treat its endpoint as Amazon's.
func (c *Client) PretendAWS() { c.onAWS = true }

// Region is the region that requests for the bucket go to; empty for the endpoint's.
func (c *Client) Region(bucket string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.regions[bucket]
}
