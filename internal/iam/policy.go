package iam

// Policy is a parsed policy document.
type Policy struct{ text string }
