// Package crash holds the test that kills the server at random moments under
// load and looks for anything that was acknowledged and is gone. Set
// CHIROGRAPH_CRASH_ROUNDS for more rounds than the quick 20.
package crash
