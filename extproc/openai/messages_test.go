package openai

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"aisix/extproc/chat"
)

const (
	png = "\x89PNG\r\n\x1a\n\xfb\xff\xfe" // base64 with + and /, and with padding
	pdf = "%PDF-1.7\n"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// blocksOf decodes a conversation and gives its system blocks and turns as cut
// by the caller.
func blocksOf(t *testing.T, messages string) (system []chat.Block, turns [][]chat.Block) {
	t.Helper()
	r, err := Chat{}.Decode([]byte(`{"model":"m","messages":[` + messages + `]}`))
	if err != nil {
		t.Fatalf("%s: %v", messages, err)
	}
	for _, m := range r.Messages {
		turns = append(turns, m.Blocks)
	}
	return r.System, turns
}

func text(s string) chat.Block { return chat.Text{Text: s} }

func TestMessages(t *testing.T) {
	one := func(b ...chat.Block) [][]chat.Block { return [][]chat.Block{b} }
	hour := chat.CachePoint{TTL: "1h"}
	call := chat.ToolUse{ID: "c1", Name: "f", Input: json.RawMessage(`{"a":1}`)}
	for name, test := range map[string]struct {
		messages string
		system   []chat.Block
		turns    [][]chat.Block
	}{
		"system and developer are hoisted from anywhere, in order": {
			`{"role":"user","content":"a"},{"role":"developer","content":"x"},{"role":"system","content":[{"type":"text","text":"y"}]}`,
			[]chat.Block{text("x"), text("y")}, one(text("a"))},
		"assistant content arrays, refusals and calls keep their order": {
			`{"role":"assistant","content":[{"type":"text","text":"a"},{"type":"refusal","refusal":"b"}],"refusal":"c","tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]}`,
			nil, one(text("a"), text("b"), text("c"), call)},
		"what clients send back of an answer": {
			`{"role":"assistant","content":"a","refusal":null,"annotations":[],"audio":null,"function_call":null,"tool_calls":[],"parsed":null,"name":null,"reasoning_content":null,"thinking_blocks":null}`,
			nil, one(text("a"))},
		"calls with what clients add to them": {
			`{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\":1}","parsed_arguments":{"a":1}}}]}`,
			nil, one(call)},
		"reasoning comes back byte for byte, the redacted too": {
			`{"role":"assistant","content":"a","reasoning_content":"hm","thinking_blocks":[{"type":"thinking","thinking":"h\u0000m","signature":"s=="},{"type":"redacted_thinking","data":"AAH/","index":1},{"type":"thinking","thinking":"","signature":"t"}]}`,
			nil, one(chat.Thinking{Text: "h\x00m", Signature: "s=="}, chat.Redacted{Data: "AAH/"}, chat.Thinking{Signature: "t"}, text("a"))},
		"reasoning_content alone has no signature": {
			`{"role":"assistant","content":"a","reasoning_content":"hm"}`,
			nil, one(chat.Thinking{Text: "hm"}, text("a"))},
		"tool results: null and empty content, parts, a name": {
			`{"role":"tool","tool_call_id":"c1","content":null},{"role":"tool","tool_call_id":"c2","name":"f","content":[]},{"role":"tool","tool_call_id":"c3","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"data:image/png;base64,` + b64(png) + `"}}]}`,
			nil, [][]chat.Block{
				{chat.ToolResult{ID: "c1", Param: "messages[0].tool_call_id"}},
				{chat.ToolResult{ID: "c2", Param: "messages[1].tool_call_id"}},
				{chat.ToolResult{ID: "c3", Param: "messages[2].tool_call_id", Blocks: []chat.Block{text("a"), chat.Image{Format: "png", Data: []byte(png), Param: "messages[2].content[1]"}}}},
			}},
		"cache marks stand behind their part; a message's behind its last; two on one spot are one": {
			`{"role":"user","content":[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}},{"type":"text","text":"b","prompt_cache_breakpoint":{"mode":"explicit"}}],"cache_control":{"type":"ephemeral","ttl":"5m"}},
			 {"role":"user","content":"c","cache_control":{"type":"ephemeral","ttl":"5m"}}`,
			nil, [][]chat.Block{{text("a"), chat.CachePoint{}, text("b"), hour}, {text("c"), chat.CachePoint{TTL: "5m"}}}},
		"a cache mark in a tool message stands beside the result": {
			`{"role":"tool","tool_call_id":"c1","content":[{"type":"text","text":"a","cache_control":{"type":"ephemeral","ttl":"1h"}},{"type":"text","text":"b"}]}`,
			nil, one(chat.ToolResult{ID: "c1", Param: "messages[0].tool_call_id", Blocks: []chat.Block{text("a"), text("b")}}, hour)},
		"a cache mark on a system message": {
			`{"role":"system","content":"s","cache_control":{"type":"ephemeral"}},{"role":"user","content":"a"}`,
			[]chat.Block{text("s"), chat.CachePoint{}}, one(text("a"))},

		"a participant's name stands before what is said": {
			`{"role":"system","name":"example_user","content":"q"},{"role":"user","name":"alice","content":[{"type":"text","text":" "},{"type":"text","text":"a"},{"type":"text","text":"b"}]}`,
			[]chat.Block{text("example_user: q")}, one(text(" "), text("alice: a"), text("b"))},
		"before an image too": {
			`{"role":"user","name":"alice","content":[{"type":"image_url","image_url":{"url":"https://a/b.png"}}]}`,
			nil, one(text("alice:"), chat.Image{URL: "https://a/b.png", Param: "messages[0].content[0]"})},
		"a blank name, and a name of one who says nothing": {
			`{"role":"user","name":" ","content":"a"},{"role":"user","name":"bob","content":""}`,
			nil, [][]chat.Block{{text("a")}, {text("")}}},
		"a name that is the role says nothing": {
			`{"role":"user","name":"user","content":"a"},{"role":"assistant","name":"assistant","content":"b"},{"role":"assistant","content":"c"}`,
			nil, [][]chat.Block{{text("a")}, {text("b")}, {text("c")}}},
		"one assistant needs no name": {
			`{"role":"assistant","name":"bot","content":"a"},{"role":"user","content":"u"},{"role":"assistant","name":"bot","content":"b"}`,
			nil, [][]chat.Block{{text("a")}, {text("u")}, {text("b")}}},
		"several are told apart": {
			`{"role":"assistant","name":"x","content":"a"},{"role":"assistant","name":"y","content":"b"},{"role":"assistant","content":"c"}`,
			nil, [][]chat.Block{{text("x: a")}, {text("y: b")}, {text("c")}}},
	} {
		t.Run(name, func(t *testing.T) {
			system, turns := blocksOf(t, test.messages)
			if diff := cmp.Diff(test.system, system); diff != "" {
				t.Errorf("system:\n%s", diff)
			}
			if diff := cmp.Diff(test.turns, turns); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMedia(t *testing.T) {
	image := func(format, data string) chat.Block {
		return chat.Image{Format: format, Data: []byte(data), Param: "messages[0].content[0]"}
	}
	document := func(name, format, data string) chat.Block {
		return chat.Document{Name: name, Format: format, Data: []byte(data), Param: "messages[0].content[0]"}
	}
	jpeg, compound := "\xff\xd8\xff\xe0", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
	standard := b64(png)
	for name, test := range map[string]struct {
		part string
		want chat.Block
	}{
		"the magic bytes decide, not the media type": {imagePart("data:image/jpeg;base64," + standard), image("png", png)},
		"jpg":                                         {imagePart("DATA:image/JPG;Base64," + b64(jpeg)), image("jpeg", jpeg)},
		"no media type":                               {imagePart("data:;base64," + standard), image("png", png)},
		"parameters of the media type":                {imagePart("data:image/png;charset=utf-8; base64," + standard), image("png", png)},
		"white space around the URL":                  {imagePart("\n data:image/png;base64," + standard + "\n"), image("png", png)},
		"line breaks and spaces in base64":            {imagePart("data:image/png;base64, " + standard[:5] + "\r\n\t" + standard[5:] + "\n"), image("png", png)},
		"the URL-safe alphabet":                       {imagePart("data:image/png;base64," + base64.URLEncoding.EncodeToString([]byte(png))), image("png", png)},
		"no padding":                                  {imagePart("data:image/png;base64," + base64.RawStdEncoding.EncodeToString([]byte(png))), image("png", png)},
		"too much padding":                            {imagePart("data:image/png;base64," + standard + "=="), image("png", png)},
		"percent-encoded base64":                      {imagePart("data:image/png;base64," + strings.NewReplacer("+", "%2B", "/", "%2F", "=", "%3D").Replace(standard)), image("png", png)},
		"a URL to be fetched":                         {imagePart("https://example.com/a.png?x=1"), chat.Image{URL: "https://example.com/a.png?x=1", Param: "messages[0].content[0]"}},
		"a URL alone":                                 {`{"type":"image_url","image_url":"https://example.com/a.png"}`, chat.Image{URL: "https://example.com/a.png", Param: "messages[0].content[0]"}},
		"a data URL alone":                            {`{"type":"image_url","image_url":"data:image/png;base64,` + standard + `"}`, image("png", png)},
		"a PDF as a data URL":                         {filePart("a.pdf", "data:application/pdf;base64,"+b64(pdf)), document("a.pdf", "pdf", pdf)},
		"raw base64, and the magic bytes decide":      {filePart("a.txt", b64(pdf)), document("a.txt", "pdf", pdf)},
		"told by the name":                            {filePart("A.DOCX", b64("PK")), document("A.DOCX", "docx", "PK")},
		"told by the media type":                      {filePart("", "data:text/csv;base64,"+b64("a,b")), document("", "csv", "a,b")},
		"the name wins over the media type":           {filePart("a.md", "data:text/plain;base64,"+b64("# a")), document("a.md", "md", "# a")},
		"an image as a file":                          {filePart("a.pdf", "data:application/pdf;base64,"+standard), image("png", png)},
		"a file in URL-safe base64 with line breaks":  {filePart("a.txt", base64.RawURLEncoding.EncodeToString([]byte("\xfb\xff\xfe"))+"\n"), document("a.txt", "txt", "\xfb\xff\xfe")},
		"every detail that costs nothing is accepted": {`{"type":"image_url","image_url":{"url":"data:;base64,` + standard + `","detail":"original"}}`, image("png", png)},

		"a PDF as an image":                             {imagePart("data:application/pdf;base64," + b64(pdf)), document("", "pdf", pdf)},
		"a PDF called an image":                         {imagePart("data:image/jpeg;base64," + b64(pdf)), document("", "pdf", pdf)},
		"a PDF without a media type":                    {imagePart("data:;base64," + b64(pdf)), document("", "pdf", pdf)},
		"a PDF that begins with something else":         {imagePart("data:application/pdf;base64," + b64("\ufeff"+pdf)), document("", "pdf", "\ufeff"+pdf)},
		"a detail of a document":                        {`{"type":"image_url","image_url":{"url":"data:application/pdf;base64,` + b64(pdf) + `","detail":"low"}}`, document("", "pdf", pdf)},
		"an office document as an image":                {imagePart("data:application/vnd.openxmlformats-officedocument.wordprocessingml.document;base64," + b64("PK")), document("", "docx", "PK")},
		"a name in the data URL":                        {imagePart("data:application/octet-stream;name=Q3%20plan.xlsx;base64," + b64("PK")), document("Q3 plan.xlsx", "xlsx", "PK")},
		"a quoted file name in the data URL":            {filePart("", `data:text/plain; filename="a.md" ;base64,`+b64("# a")), document("a.md", "md", "# a")},
		"an archive that is a docx":                     {filePart("", "data:application/octet-stream;base64,"+b64("PK\x03\x04..word/document.xml..")), document("", "docx", "PK\x03\x04..word/document.xml..")},
		"an archive that is an xlsx":                    {imagePart("data:application/zip;base64," + b64("PK\x03\x04..xl/workbook.xml..")), document("", "xlsx", "PK\x03\x04..xl/workbook.xml..")},
		"a compound file that is a doc":                 {filePart("a.bin", b64(compound+"W\x00o\x00r\x00d\x00D\x00o\x00c\x00u\x00m\x00e\x00n\x00t\x00")), document("a.bin", "doc", compound+"W\x00o\x00r\x00d\x00D\x00o\x00c\x00u\x00m\x00e\x00n\x00t\x00")},
		"percent-encoded text":                          {imagePart("data:text/plain,Hello%20World"), document("", "txt", "Hello World")},
		"percent-encoded text in a file":                {filePart("", "data:text/plain,Hello%20World"), document("", "txt", "Hello World")},
		"text with a charset":                           {imagePart("data:text/csv;charset=utf-8,a%2Cb%0A1,2"), document("", "csv", "a,b\n1,2")},
		"text with a charset in a file":                 {filePart("t", "data:text/csv;charset=utf-8,a%2Cb"), document("t", "csv", "a,b")},
		"in upper case":                                 {imagePart("DATA:TEXT/MARKDOWN;CHARSET=UTF-8,%23%20A%c3%a9"), document("", "md", "# Aé")},
		"neither type nor encoding":                     {imagePart("data:,a+b"), document("", "txt", "a+b")},
		"a percent sign that is one":                    {imagePart("data:text/plain,100% of 5%2C or %zz or %"), document("", "txt", "100% of 5, or %zz or %")},
		"a hash sign that is one":                       {imagePart("data:text/markdown,# Title"), document("", "md", "# Title")},
		"base64 before another parameter":               {imagePart("data:text/html;base64;charset=utf-8," + b64("<p>")), document("", "html", "<p>")},
		"base64 of a document, URL-safe and unpadded":   {imagePart("data:application/pdf;BASE64," + base64.RawURLEncoding.EncodeToString([]byte(pdf+"\xfb\xff\xfe"))), document("", "pdf", pdf+"\xfb\xff\xfe")},
		"base64 of a document with escapes and a break": {filePart("", "data:text/plain;base64,SGVs%0Abw%3D%3D"), document("", "txt", "Helo")},
		"percent-encoded bytes of an image":             {imagePart("data:image/png,%89PNG%0D%0A%1A%0A"), image("png", "\x89PNG\r\n\x1a\n")},
	} {
		t.Run(name, func(t *testing.T) {
			_, turns := blocksOf(t, `{"role":"user","content":[`+test.part+`]}`)
			if diff := cmp.Diff([][]chat.Block{{test.want}}, turns); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func imagePart(url string) string {
	raw, _ := json.Marshal(url)
	return `{"type":"image_url","image_url":{"url":` + string(raw) + `}}`
}

func filePart(name, data string) string {
	raw, _ := json.Marshal(map[string]string{"filename": name, "file_data": data})
	return `{"type":"file","file":` + string(raw) + `}`
}

func TestMessagesRefused(t *testing.T) {
	user := func(part string) string { return `{"role":"user","content":[` + part + `]}` }
	for messages, param := range map[string]string{
		`5`:                                  "messages[0]",
		`{}`:                                 "messages[0].role",
		`{"role":"robot","content":"a"}`:     "messages[0].role",
		`{"role":"function","content":"a"}`:  "messages[0].role",
		`{"role":"user"}`:                    "messages[0].content",
		`{"role":"user","content":null}`:     "messages[0].content",
		`{"role":"system"}`:                  "messages[0].content",
		`{"role":"tool","tool_call_id":"a"}`: "messages[0].content",
		`{"role":"tool","content":"a"}`:      "messages[0].tool_call_id",
		`{"role":"tool","content":"a","tool_call_id":""}`:                                              "messages[0].tool_call_id",
		`{"role":"user","content":5}`:                                                                  "messages[0].content",
		`{"role":"user","content":"a","mood":"good"}`:                                                  "messages[0].mood",
		`{"role":"user","content":"a","tool_call_id":"x"}`:                                             "messages[0].tool_call_id",
		`{"role":"user","content":"a","tool_calls":[]}`:                                                "messages[0].tool_calls",
		`{"role":"user","content":"a","name":5}`:                                                       "messages[0].name",
		`{"role":"user","content":"a","cache_control":{"type":"ephemeral","ttl":"9m"}}`:                "messages[0].cache_control.ttl",
		`{"role":"user","content":"a"},{"role":"assistant","audio":{"id":"a"}}`:                        "messages[1].audio",
		`{"role":"user","content":"a"},{"role":"assistant","function_call":{"name":"f"}}`:              "messages[1].function_call",
		`{"role":"assistant","content":[{"type":"image_url","image_url":{"url":"https://a/b"}}]}`:      "messages[0].content[0]",
		`{"role":"system","content":[{"type":"file","file":{"filename":"a.txt","file_data":"eA=="}}]}`: "messages[0].content[0]",
		`{"role":"assistant","tool_calls":[{"type":"function","function":{"name":"f"}}]}`:              "messages[0].tool_calls[0].id",
		`{"role":"assistant","tool_calls":[{"id":"a","function":{"name":"f"}}]}`:                       "messages[0].tool_calls[0].type",
		`{"role":"assistant","tool_calls":[{"id":"a","type":"function"}]}`:                             "messages[0].tool_calls[0].function",
		`{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{}}]}`:               "messages[0].tool_calls[0].function.name",
		`{"role":"assistant","tool_calls":[{"id":"a","type":"custom","custom":{}}]}`:                   "messages[0].tool_calls[0].type",
		`{"role":"assistant","content":"a","thinking_blocks":[{"thinking":"x"}]}`:                      "messages[0].thinking_blocks[0].type",
		`{"role":"assistant","content":"a","thinking_blocks":[{"type":"x"}]}`:                          "messages[0].thinking_blocks[0].type",
		`{"role":"assistant","thinking_blocks":[{"type":"redacted_thinking","data":""}]}`:              "messages[0].thinking_blocks[0].data",
		user(`"a"`):                                   "messages[0].content[0]",
		user(`{"text":"a"}`):                          "messages[0].content[0].type",
		user(`{"type":"text"}`):                       "messages[0].content[0].text",
		user(`{"type":"text","text":5}`):              "messages[0].content[0].text",
		user(`{"type":"text","text":"a","tone":"x"}`): "messages[0].content[0].tone",
		user(`{"type":"text","text":"a"},{"type":"input_audio","input_audio":{}}`):                   "messages[0].content[1]",
		user(`{"type":"video_url","video_url":{}}`):                                                  "messages[0].content[0]",
		user(`{"type":"input_text","text":"hi"}`):                                                    "messages[0].content[0]", // of the Responses API
		user(`{"type":"reasoning","text":"hi","image_url":{"url":"x"}}`):                             "messages[0].content[0]",
		user(`{"type":"refusal","refusal":"a"}`):                                                     "messages[0].content[0]",
		user(`{"type":"text","text":"a","prompt_cache_breakpoint":{"mode":"explicit","ttl":"12h"}}`): "messages[0].content[0].prompt_cache_breakpoint.ttl",
		user(`{"type":"text","text":"a","prompt_cache_breakpoint":{}}`):                              "messages[0].content[0].prompt_cache_breakpoint.mode",
		user(`{"type":"image_url","image_url":"http://a/b"}`):                                        "messages[0].content[0].image_url",
		user(`{"type":"image_url","image_url":""}`):                                                  "messages[0].content[0].image_url",
		user(`{"type":"image_url","image_url":["https://a/b"]}`):                                     "messages[0].content[0].image_url",
		user(`{"type":"image_url","image_url":{}}`):                                                  "messages[0].content[0].image_url.url",
		user(`{"type":"image_url","image_url":{"url":"https://a/b","detail":"low"}}`):                "messages[0].content[0].image_url.detail",
		user(imagePart("http://a/b.png")):                                                            "messages[0].content[0].image_url.url",
		user(imagePart("https://")):                                                                  "messages[0].content[0].image_url.url",
		user(imagePart("https://u:p@a/b.png")):                                                       "messages[0].content[0].image_url.url",
		user(imagePart("file:///etc/passwd")):                                                        "messages[0].content[0].image_url.url",
		user(imagePart("data:image/svg+xml;base64," + b64("<svg>"))):                                 "messages[0].content[0].image_url.url",
		user(imagePart("data:image/png;base64,####")):                                                "messages[0].content[0].image_url.url",
		user(imagePart("data:application/pdf;base64," + b64("no pdf"))):                              "messages[0].content[0].image_url.url",
		user(imagePart("data:application/zip;base64," + b64("PK\x03\x04..a.txt.."))):                 "messages[0].content[0].image_url.url",
		user(imagePart("data:audio/mpeg;base64," + b64("ID3"))):                                      "messages[0].content[0].image_url.url",
		user(imagePart("data:text/plain")):                                                           "messages[0].content[0].image_url.url",
		user(imagePart("data:text/plain,")):                                                          "messages[0].content[0].image_url.url",
		user(imagePart("data:text/plain;base64,%%%%")):                                               "messages[0].content[0].image_url.url",
		user(filePart("a.txt", "data:text/plain;base64,####")):                                       "messages[0].content[0].file.file_data",
		user(filePart("a.txt", "data:text/plain,")):                                                  "messages[0].content[0].file.file_data",
		user(filePart("a.txt", "data:"+strings.Repeat("x", 5000)+",eA")):                             "messages[0].content[0].file.file_data",
		user(filePart("", b64("hello"))):                                                             "messages[0].content[0].file",
		user(imagePart("data:image/png,abc")):                                                        "messages[0].content[0].image_url.url",
		user(imagePart("data:image/png;base64,")):                                                    "messages[0].content[0].image_url.url",
		user(`{"type":"file","file":{"file_id":"f"}}`):                                               "messages[0].content[0].file.file_id",
		user(`{"type":"file","file":{"filename":"a.pdf"}}`):                                          "messages[0].content[0].file.file_data",
		user(filePart("a.pdf", "")):                                                                  "messages[0].content[0].file.file_data",
		user(filePart("a.pdf", "data:application/pdf;base64,")):                                      "messages[0].content[0].file.file_data",
		user(filePart("a.pdf", b64("no pdf"))):                                                       "messages[0].content[0].file",
		user(filePart("a.exe", b64("MZ"))):                                                           "messages[0].content[0].file",
		user(filePart("", "data:application/octet-stream;base64,TVo=")):                              "messages[0].content[0].file",
		user(`{"type":"file","file":{"file_data":"eA==","file_url":"x"}}`):                           "messages[0].content[0].file.file_url",
	} {
		if f := refusal(t, `{"model":"m","messages":[`+messages+`]}`); f.Param != param {
			t.Errorf("%s: param %q (%s), want %q", messages, f.Param, f.Message, param)
		}
	}
}

// TestIgnoredInMessages: the operator may have names and image details ignored.
func TestIgnoredInMessages(t *testing.T) {
	b, err := Chat{}.Parse(nil, []byte(`{"model":"m","messages":[{"role":"user","name":"bob","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"https://a/b","detail":"low"}}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	r, err := b.Request([]string{"name", "detail"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]chat.Block{text("a"), chat.Image{URL: "https://a/b", Param: "messages[0].content[1]"}}, r.Messages[0].Blocks); diff != "" {
		t.Error(diff)
	}
}
