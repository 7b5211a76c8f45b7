package auditreport

// hurry runs f at the server's own priority, whatever the caller's: what others
// wait for, such as a connection of the store, must not be held by someone who
// gives way to them.
func hurry(f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return <-done
}

// aside runs f so that it gives way, whatever the caller does.
func aside(f func() error) error {
	return hurry(func() error {
		giveWay()
		return f()
	})
}
