package sim

import "math"

// The shapes are those of AWS's service model, with the limits that its documentation adds: sizes of
// images and documents, names of documents. Ids of tool uses may be longer in what they hold than the
// table lets most models have them.
const (
	toolName   = `[a-zA-Z0-9_-]+`
	callID     = `[a-zA-Z0-9_.:-]+`
	maxImage   = 3_932_160 // 3.75 MB
	maxDoc     = 4_718_592 // 4.5 MB
	maxInt     = math.MaxInt32
	metaChars  = `[a-zA-Z0-9\s:_@$#=/+,.-]*`
	oneSpace   = `[a-zA-Z0-9()\[\]-]+( [a-zA-Z0-9()\[\]-]+)*`
	project    = `([a-zA-Z0-9_-]+|arn:aws(|-us-gov|-cn|-iso|-iso-b|-iso-f|-eusc):bedrock:[0-9a-z-]{1,20}:[0-9]{12}:project/[a-zA-Z0-9_-]+)`
	guardrails = `(|([a-z0-9]+)|(arn:aws(-[^:]+)?:bedrock:[a-z0-9-]{1,20}:[0-9]{12}:guardrail/[a-z0-9]+))`
)

var (
	// Blocks. Sources and limits: API_runtime_ImageBlock, DocumentBlock, VideoBlock, AudioBlock.
	// Members with a * are required, see members.
	cachePoint = members(map[string]check{"*type": enum("default"), "ttl": enum("5m", "1h")})
	s3Location = members(map[string]check{"*uri": text(1, 1024, `s3://[a-z0-9][.a-z0-9-]{1,61}[a-z0-9](/.*)?`), "bucketOwner": text(12, 12, `[0-9]+`)})
	imageBlock = all(members(map[string]check{
		"*format": enum("png", "jpeg", "gif", "webp"),
		"*source": union(map[string]check{"bytes": blob(maxImage), "s3Location": s3Location}),
	}), imageMatches)
	documentBlock = members(map[string]check{
		"*name":   text(1, 200, oneSpace),
		"format":  enum("pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"),
		"*source": union(map[string]check{"bytes": blob(maxDoc), "s3Location": s3Location, "text": text(1, maxInt, ""), "content": list(1, 1000, union(map[string]check{"text": text(1, maxInt, "")}))}),
		"context": anyText, "citations": members(map[string]check{"*enabled": boolean}),
	})
	videoBlock = members(map[string]check{
		"*format": enum("mkv", "mov", "mp4", "webm", "flv", "mpeg", "mpg", "wmv", "three_gp"),
		"*source": union(map[string]check{"bytes": blob(maxBody), "s3Location": s3Location}),
	})
	audioBlock = members(map[string]check{
		"*format": enum("mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "mkv", "mka", "x-aac", "m4a", "mpeg", "mpga", "pcm", "webm"),
		"*source": union(map[string]check{"bytes": blob(maxBody), "s3Location": s3Location}),
	})
	search = members(map[string]check{"*source": anyText, "*title": anyText, "*content": list(1, 1000, members(map[string]check{"*text": anyText})), "citations": members(map[string]check{"*enabled": boolean})})
	// type tells tools that the model ran itself; results of those have a type too.
	toolUse    = members(map[string]check{"*toolUseId": text(1, 64, callID), "*name": text(1, 64, toolName), "*input": freeObject, "type": enum("server_tool_use")})
	toolResult = members(map[string]check{
		"*toolUseId": text(1, 64, callID), "status": enum("success", "error"), "type": anyText,
		"*content": list(0, 1000, union(map[string]check{
			"text": anyText, "json": freeObject, "image": imageBlock, "document": documentBlock, "video": videoBlock, "searchResult": search,
		})),
	})
	reasoning = union(map[string]check{
		"reasoningText":   members(map[string]check{"*text": anyText, "signature": anyText}),
		"redactedContent": blob(maxInt),
	})
	guardImage    = members(map[string]check{"*format": enum("png", "jpeg"), "*source": union(map[string]check{"bytes": blob(maxImage)})})
	toolReference = members(map[string]check{"*tool": members(map[string]check{"type": text(1, 64, ""), "name": text(1, 128, ""), "serverName": text(1, 128, "")})})
	guardContent  = union(map[string]check{"text": members(map[string]check{"*text": anyText, "qualifiers": list(0, 3, enum("grounding_source", "query", "guard_content"))}), "image": guardImage})
	converseBlock = union(map[string]check{
		"text": anyText, "image": imageBlock, "document": documentBlock, "video": videoBlock, "audio": audioBlock, "searchResult": search,
		"toolUse": toolUse, "toolResult": toolResult, "reasoningContent": reasoning, "cachePoint": cachePoint, "guardContent": guardContent, "citationsContent": freeObject,
		"toolAddition": toolReference, "toolRemoval": toolReference,
	})
	// API_runtime_ToolSpecification. strict came with structured output.
	toolSpec = members(map[string]check{
		"*name": text(1, 64, toolName), "description": text(1, maxInt, ""), "strict": boolean,
		"*inputSchema": union(map[string]check{"json": schema}),
	})
	empty     = members(nil)
	guardrail = map[string]check{"guardrailIdentifier": text(0, 2048, guardrails), "guardrailVersion": text(0, 5, `(|([1-9][0-9]{0,7})|(DRAFT))`), "trace": enum("enabled", "disabled", "enabled_full")}
)

// converseRequest is ConverseRequest, and with stream ConverseStreamRequest.
func converseRequest(stream bool) check {
	// Streams alone say how the guardrail keeps up with them.
	guard := map[string]check{"streamProcessingMode": enum("sync", "async")}
	if !stream {
		guard = map[string]check{}
	}
	for k, v := range guardrail {
		guard[k] = v
	}
	return members(map[string]check{
		"messages": list(0, 10000, members(map[string]check{"*role": enum("user", "assistant", "system"), "*content": list(0, 10000, converseBlock)})),
		"system":   list(0, 1000, union(map[string]check{"text": text(1, maxInt, ""), "cachePoint": cachePoint, "guardContent": guardContent})),
		"inferenceConfig": members(map[string]check{
			"maxTokens": integer(1, maxInt), "temperature": number(0, 1), "topP": number(0, 1), "stopSequences": list(0, 2500, text(1, maxInt, "")),
		}),
		"toolConfig": members(map[string]check{
			"*tools":     list(1, 1000, union(map[string]check{"toolSpec": toolSpec, "cachePoint": cachePoint, "systemTool": members(map[string]check{"*name": text(1, 64, toolName)})})),
			"toolChoice": union(map[string]check{"auto": empty, "any": empty, "tool": members(map[string]check{"*name": text(1, 64, toolName)})}),
		}),
		"guardrailConfig":                   members(guard),
		"additionalModelRequestFields":      freeObject,
		"additionalModelResponseFieldPaths": list(0, 10, text(1, 256, "")),
		"promptVariables":                   mapOf(0, 1000, anyText, union(map[string]check{"text": anyText})),
		"projectIdentifier":                 text(1, 2048, project),
		"requestMetadata":                   mapOf(1, 16, text(1, 256, metaChars), text(0, 256, metaChars)),
		"performanceConfig":                 members(map[string]check{"latency": enum("standard", "optimized")}),
		"serviceTier":                       members(map[string]check{"*type": enum("priority", "default", "flex", "reserved")}),
		"outputConfig": members(map[string]check{
			"effort": text(0, 16, ""),
			"textFormat": members(map[string]check{
				"*type":      enum("json_schema"),
				"*structure": union(map[string]check{"jsonSchema": members(map[string]check{"*schema": jsonSchemaText, "name": text(1, 256, ""), "description": anyText})}),
			}),
		}),
	})
}

var converseShapes = map[bool]check{false: converseRequest(false), true: converseRequest(true)}

// imageMatches: the service reads the first bytes, and refuses a format that they are not of.
func imageMatches(path string, v any) *fault {
	if b := bytesOf(v, "source", "bytes"); len(b) > 0 && imageKind(b) != str(v, "format") {
		return at(path, "The provided image is not a valid %s image.", str(v, "format"))
	}
	return nil
}
