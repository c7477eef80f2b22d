// Package config is everything that can be set: the sections with their defaults, where they are
// read from, what is wrong with them, and the keys of the app that a first start makes.
//
// [Load] reads a file, the environment and flags into a [Config]; its error names every mistake
// with the place where it was written. The server composes its rooms from the result.
//
// # Adding a setting
//
// A setting is a field of its room's Config, with a comment and a range tag; docs/config.md is made
// from both. What the room finds wrong between its settings is in its Validate, which [Load] calls.
//
// # Secrets
//
// A [Secret] shows as stars wherever it is printed; only Reveal returns it.
package config
