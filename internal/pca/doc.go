// Package pca is the language of the API: the shapes of the acm-pca model
// with their constraints (shapes_gen.go), ARNs, points in time, and the one
// Error that a caller sees. It knows nothing of HTTP, storage or keys.
package pca
