package main

// A work is a kind of load. The table below is the list of all.
type work struct {
	name  string
	about string
	ids   int  // ids in a query; 0 means that there are only hooks
	hooks int  // of a hundred requests so many are hooks
	open  bool // sent at a fixed rate, whether or not answers have come
}

func (w work) label() string { return w.name }

var works = []work{
	{name: "query-1", ids: 1, about: "getOnOffStatus of 1 id"},
	{name: "query-20", ids: 20, about: "getOnOffStatus of 20 ids"},
	{name: "query-100", ids: 100, about: "getOnOffStatus of 100 ids"},
	{name: "query-500", ids: 500, about: "getOnOffStatus of 500 ids"},
	{name: "hooks", hooks: 100, about: "_clientOnline and _clientOffline of random peers, each turning its peer"},
	{name: "mixed", ids: 20, hooks: 5, about: "95 % getOnOffStatus of 20 ids, 5 % hooks"},
	{name: "mixed-100", ids: 100, hooks: 5, about: "95 % getOnOffStatus of 100 ids, 5 % hooks"},
	{name: "open-loop", ids: 20, open: true, about: "getOnOffStatus of 20 ids at a fixed rate, latency from the moment each was due"},
}
