package rtm

// A code is LeanCloud's number for why something was refused or closed, with the name that SDKs
// show.
type code struct {
	number int32
	name   string
}

var (
	codeApp          = code{4100, "APP_NOT_AVAILABLE"}
	codeSignature    = code{4102, "SIGNATURE_FAILED"}
	codeLogin        = code{4103, "INVALID_LOGIN"}
	codeSession      = code{4105, "SESSION_REQUIRED"}
	codeOrigin       = code{4110, "INVALID_ORIGIN"}
	codeConflict     = code{4111, "SESSION_CONFLICT"}
	codeToken        = code{4112, "SESSION_TOKEN_EXPIRED"}
	codeQuota        = code{4113, "APP_QUOTA_EXCEEDED"}
	codeUnparseable  = code{4114, "UNPARSEABLE_RAW_MESSAGE"}
	codeKicked       = code{4115, "KICKED_BY_APP"}
	codeRate         = code{4116, "MESSAGE_SENT_QUOTA_EXCEEDED"}
	codeInternal     = code{4200, "INTERNAL_ERROR"}
	codeConversation = code{4301, "CONVERSATION_API_FAILED"}
	codeTarget       = code{4401, "INVALID_MESSAGING_TARGET"}
)

const notServed = "not served by this server"
