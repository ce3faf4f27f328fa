package bedrock

import "aisix/extproc/chat"

var normalize = func(r *chat.Request) (*chat.Request, error) { return r, nil }
