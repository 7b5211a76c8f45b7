// Package pace lets work that nobody waits for give way to work that somebody
// does, where threads have priorities of their own.
package pace

// Hurry runs f at the server's own priority, whatever the caller's: what others
// wait for, such as a connection of the store, must not be held by someone who
// gives way to them.
func Hurry(f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return <-done
}

// Aside runs f so that it gives way, whatever the caller does.
func Aside(f func() error) error {
	return Hurry(func() error {
		GiveWay()
		return f()
	})
}
