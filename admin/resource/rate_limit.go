package resource

// RateLimit is the limits of one bucket: an absent one is no limit, 0 blocks.
//
// 9007199254740991 is 2^53-1, what a Lua number holds exactly.
type RateLimit struct {
	// Requests a second.
	RPS *int64 `json:"rps,omitempty" min:"0" max:"9007199254740991"`
	// Requests a minute.
	RPM *int64 `json:"rpm,omitempty" min:"0" max:"9007199254740991"`
	// Requests an hour.
	RPH *int64 `json:"rph,omitempty" min:"0" max:"9007199254740991"`
	// Requests a day.
	RPD *int64 `json:"rpd,omitempty" min:"0" max:"9007199254740991"`
	// Tokens a minute.
	TPM *int64 `json:"tpm,omitempty" min:"0" max:"9007199254740991"`
	// Tokens a day.
	TPD *int64 `json:"tpd,omitempty" min:"0" max:"9007199254740991"`
	// Calls at a time.
	Concurrency *int64 `json:"concurrency,omitempty" min:"0" max:"9007199254740991"`
}
