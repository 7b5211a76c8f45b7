// Package crash holds the tests that kill the server at random moments under
// load and look for anything that was acknowledged and is gone. Set
// CHIROGRAPH_CRASH_ROUNDS for more rounds than the quick ones.
package crash
