// Package fetch gets the images that callers name by an https: URL.
//
// It knows which addresses a gateway may be sent to by a stranger (public ones,
// on port 443), how much and how long it reads, and that the first bytes tell
// what an image is. It knows no dialect and no upstream: it takes a chat.Request
// and gives one whose images are inline. It is off unless the operator says
// otherwise, and then refuses by name.
//
// extproc calls Prepare before limits, so that all that can be wrong with the
// request is said first, and Images after them: a caller who is refused has
// nothing fetched, and no key takes all of the fetches that the process makes.
package fetch
