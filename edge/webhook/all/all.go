// Package all lists the kinds of sources: one line for each.
package all

import (
	"rollcall/edge/webhook"
	"rollcall/edge/webhook/centrifugo"
	"rollcall/edge/webhook/easemob"
	"rollcall/edge/webhook/ejabberd"
	"rollcall/edge/webhook/emqx"
	"rollcall/edge/webhook/generic"
	"rollcall/edge/webhook/jq"
	"rollcall/edge/webhook/leancloud"
	"rollcall/edge/webhook/mongooseim"
	"rollcall/edge/webhook/openim"
	"rollcall/edge/webhook/rongcloud"
	"rollcall/edge/webhook/tencent"
	"rollcall/edge/webhook/wukongim"
	"rollcall/edge/webhook/yunxin"
	"rollcall/edge/webhook/zim"
)

// Kinds are the kinds that a source may name, by name.
var Kinds = []webhook.Kind{
	centrifugo.Kind{},
	easemob.Kind{},
	ejabberd.Kind{},
	emqx.Kind{},
	generic.Kind{},
	jq.Kind{},
	leancloud.Kind{},
	mongooseim.Kind{},
	openim.Kind{},
	rongcloud.Kind{},
	tencent.Kind{},
	wukongim.Kind{},
	yunxin.Kind{},
	zim.Kind{},
}

// Auditor returns what asks the product of kind: kind itself, or for a product that cannot be asked
// the call of kind generic, which a backend answers for it.
func Auditor(kind webhook.Kind) webhook.Auditor {
	if a, ok := kind.(webhook.Auditor); ok {
		return a
	}
	return generic.Kind{}
}
