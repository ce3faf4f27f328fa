// Package embeddings is what embeddings are asked and answered by, in no API's shape: between the
// dialects that callers ask in and package bedrock, as package chat is for conversations. It
// knows no JSON and no model.
package embeddings

// MaxInputs is the most that one call may ask for.
const MaxInputs = 2048

// Asked is what one call asks: one body, in its caller's dialect.
type Asked interface {
	// Model is the alias, as the caller sent it.
	Model() string
	// Request gives the rest: every parameter is honoured or refused by a *fault.Error that
	// names it, and those in ignore are taken as absent. It is called once.
	Request(ignore []string) (*Request, error)
	// Most is how many bytes an answer of so many numbers may have.
	Most(numbers int) int64
	// Answer is the answer.
	Answer(a *Answer) ([]byte, error)
}

// Request is inputs to make a vector of, each.
type Request struct {
	Texts []string
	// Tokens tells that the inputs are token ids and no texts: how many inputs there are.
	Tokens int
	// Listed tells that the inputs came as a list, so that one is named by its place in it.
	Listed bool
	// Dimensions is how long a vector is to be; 0 is as the model has it.
	Dimensions int
	// InputType is what the vectors are for, in Cohere's words; "" is not said.
	InputType string
}

// Answer has a vector for each input, in order.
type Answer struct {
	Vectors [][]float32
	Tokens  int // that the inputs had
}

// Numbers is how many numbers the vectors have together.
func (a *Answer) Numbers() int {
	n := 0
	for _, v := range a.Vectors {
		n += len(v)
	}
	return n
}
