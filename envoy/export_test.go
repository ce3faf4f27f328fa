package envoy

// What ships, for tests of it.
var Attachments = attachments

const Domain = domain
