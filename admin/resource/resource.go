// Package resource is the nouns of the Admin API: provider keys, models and API
// keys, with their JSON and their validation.
//
// It knows what each member means and which values are legal, and what there is to know
// about each kind (Table); it knows neither HTTP nor Redis. Callers: admin (decodes,
// validates and describes), admin/store (keeps them), admin/snapshot (compiles them),
// extproc (serves by them).
package resource
