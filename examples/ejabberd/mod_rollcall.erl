%% mod_rollcall reports to rollcall which sessions are open: each as it is opened and closed, and all
%% of them again and again, so that a report that was lost, or a crash, is wrong for two and a half
%% rounds at most. README.md beside this file says how to set it up.
-module(mod_rollcall).
-behaviour(gen_mod).
-behaviour(gen_server).

-export([start/2, stop/1, reload/3, depends/2, mod_opt_type/1, mod_options/1, mod_doc/0]).
-export([opened/3, closed/3, terminated/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-include_lib("kernel/include/logger.hrl").

-define(BATCH, 500).     % sessions in one call
-define(WAITING, 50000). % reports that wait for a rollcall that is away; then the oldest go
-define(ANSWER, 5000).   % ms in which rollcall answers
-define(FAREWELL, 3000). % ms for the last reports at the stop

%% The module.

start(Host, Opts) -> gen_mod:start_child(?MODULE, Host, Opts).

stop(Host) -> gen_mod:stop_child(?MODULE, Host).

reload(Host, Opts, _) -> gen_server:cast(process(Host), {reload, Opts}).

depends(_, _) -> [].

mod_opt_type(url) -> econf:url();
mod_opt_type(secret) -> econf:binary();
mod_opt_type(renew) -> econf:timeout(second).

mod_options(_) -> [url, secret, {renew, timer:seconds(60)}].

mod_doc() -> #{}.

process(Host) -> gen_mod:get_module_proc(Host, ?MODULE).

hooks() -> [{sm_register_connection_hook, opened}, {sm_remove_connection_hook, closed}, {c2s_terminated, terminated}].

%% The hooks. They run in the process of a connection, and wait for nothing.

opened(SID, JID, _) -> pass(JID, {opened, SID, jid:tolower(JID)}).

closed(SID, JID, _) -> pass(JID, {closed, SID, jid:tolower(JID), why(erase(rollcall_reason))}).

pass(JID, Event) ->
    {_, Host, _} = jid:tolower(JID),
    gen_server:cast(process(Host), Event).

%% The reason is known here, shortly before the session is closed by the same process.
terminated(State, Reason) ->
    put(rollcall_reason, maps:get(stop_reason, State, Reason)),
    State.

why({stream, reset}) -> <<"logout">>; % the client has closed its stream
why({stream, {out, Error}}) when element(1, Error) =:= stream_error ->
    case element(2, Error) of
        conflict -> % the text is in the language of the client
            case xmpp:get_text(element(3, Error)) of
                <<"Replaced by new connection">> -> <<"replaced">>;
                _ -> <<"kicked">>
            end;
        'policy-violation' -> <<"kicked">>;
        'not-authorized' -> <<"kicked">>;
        _ -> <<"lost">>
    end;
why(_) -> <<"lost">>.

%% The process of a host. Of its state, `sessions` are those that are open, by JID, each with the time
%% at which it was first seen here: rollcall reopens none that has ended, and that of a stream that
%% is resumed, or of a module that is started again, has the SID of before; `waiting` are the
%% reports to be sent, `count` of them, and `left` the JIDs to be renewed in this round. One call is under way at a
%% time, `call`, with the body in `sending`, which is sent until it is answered.

init([Host | _]) ->
    process_flag(trap_exit, true),
    {ok, _} = application:ensure_all_started(ssl),
    {ok, _} = application:ensure_all_started(inets),
    S = settings(gen_mod:get_module_opts(Host, ?MODULE), #{
        host => Host, sessions => #{}, waiting => queue:new(), count => 0, left => [], last => 0, call => none, sending => none, failures => 0
    }),
    [ejabberd_hooks:add(Hook, Host, ?MODULE, Function, 10) || {Hook, Function} <- hooks()],
    %% #session{} begins with its SID, and the user, the host and the resource.
    {At, S1} = now_after(S),
    Open = [{element(3, R), {element(2, R), At}} || R <- ejabberd_sm:dirty_get_my_sessions_list(), element(2, element(3, R)) =:= Host],
    self() ! renew,
    {ok, S1#{sessions := maps:from_list(Open)}}.

settings(Opts, S) ->
    Url = gen_mod:get_opt(url, Opts),
    #{path := Path} = uri_string:parse(Url),
    S#{url => Url, path => Path, secret => gen_mod:get_opt(secret, Opts), renew => gen_mod:get_opt(renew, Opts)}.

handle_call(_, _, S) -> {reply, ok, S}.

handle_cast({opened, SID, JID}, #{sessions := All} = S) ->
    {At, S1} = now_after(S),
    {noreply, send(report(JID, At, true, none, S1#{sessions := All#{JID => {SID, At}}}))};
handle_cast({closed, SID, JID, Why}, #{sessions := All} = S) ->
    case All of
        #{JID := {SID, Since}} -> {noreply, send(report(JID, Since, false, Why, S#{sessions := maps:remove(JID, All)}))};
        _ -> {noreply, S} % another session has its place
    end;
handle_cast({reload, Opts}, S) ->
    self() ! again, % with the new settings
    {noreply, settings(Opts, S)};
handle_cast(_, S) ->
    {noreply, S}.

handle_info(renew, #{renew := Every, left := Left, sessions := All} = S) ->
    erlang:send_after(Every, self(), renew),
    %% A connection that was killed closes no session.
    Dead = [{JID, Since} || {JID, {{_, Pid}, Since}} <- maps:to_list(All), node(Pid) =:= node(), not is_process_alive(Pid)],
    S1 = lists:foldl(fun({JID, Since}, Acc) -> report(JID, Since, false, <<"lost">>, Acc) end, S, Dead),
    Now = maps:without([JID || {JID, _} <- Dead], All),
    case Left of
        [] -> {noreply, send(S1#{sessions := Now, left := maps:keys(Now)})};
        _ -> {noreply, send(S1#{sessions := Now})} % the last round goes on
    end;
handle_info({http, {Call, Answer}}, #{call := Call} = S) ->
    {noreply, answered(Answer, S#{call := none})};
handle_info(again, #{call := again} = S) ->
    {noreply, send(S#{call := none})};
handle_info(_, S) ->
    {noreply, S}.

%% The connections close when ejabberd stops; those that have not yet are reported here. Else their
%% leases end.
terminate(_, #{host := Host, sessions := All} = S) ->
    [ejabberd_hooks:delete(Hook, Host, ?MODULE, Function, 10) || {Hook, Function} <- hooks()],
    S1 = maps:fold(fun(JID, {_, Since}, Acc) -> report(JID, Since, false, <<"lost">>, Acc) end, S#{left := []}, All),
    farewell(erlang:monotonic_time(millisecond) + ?FAREWELL, S1#{sessions := #{}}).

farewell(End, #{sending := none} = S) ->
    case batch(S) of
        {[], _} -> ok;
        {Sessions, S1} -> farewell(End, S1#{sending := body(Sessions, S1)})
    end;
farewell(End, #{sending := Body} = S) ->
    case End - erlang:monotonic_time(millisecond) of
        Left when Left > 0 ->
            case post(Body, [{timeout, Left}], [], S) of
                {ok, {{_, 200, _}, _, _}} -> farewell(End, S#{sending := none});
                _ -> ok
            end;
        _ -> ok
    end.

%% report adds a report of a session. Each has a later time than the one before.
report(JID, Since, Online, Why, #{waiting := Waiting, count := Count} = S) ->
    {At, S1} = now_after(S),
    Entry = entry(JID, Since, Online, At),
    Full = case Why of none -> Entry; _ -> Entry#{why => Why} end,
    case Count < ?WAITING of
        true -> S1#{waiting := queue:in(Full, Waiting), count := Count + 1};
        false -> S1#{waiting := queue:in(Full, queue:drop(Waiting))}
    end.

entry(JID, Since, Online, At) -> #{jid => jid:encode(JID), online => Online, at => At, since => Since}.

now_after(#{last := Last} = S) ->
    At = max(erlang:system_time(millisecond), Last + 1),
    {At, S#{last := At}}.

%% batch takes the next sessions for a call: what has happened, or else what goes on.
batch(#{count := 0, left := Left, sessions := All} = S) ->
    {Now, Later} = take(?BATCH, Left, []),
    {At, S1} = now_after(S#{left := Later}),
    {[entry(JID, element(2, maps:get(JID, All)), true, At) || JID <- Now, maps:is_key(JID, All)], S1};
batch(#{waiting := Waiting, count := Count} = S) ->
    Size = min(?BATCH, Count),
    {Now, Later} = queue:split(Size, Waiting),
    {queue:to_list(Now), S#{waiting := Later, count := Count - Size}}.

take(N, [First | Rest], Taken) when N > 0 -> take(N - 1, Rest, [First | Taken]);
take(_, Rest, Taken) -> {Taken, Rest}.

%% send starts the next call, unless one is under way or nothing is left.
send(#{call := none, sending := none} = S) ->
    case batch(S) of
        {[], #{left := []} = S1} -> S1;
        {[], S1} -> send(S1);
        {Sessions, S1} -> send(S1#{sending := body(Sessions, S1)})
    end;
send(#{call := none, sending := Body} = S) ->
    case post(Body, [{timeout, ?ANSWER}], [{sync, false}], S) of
        {ok, Call} -> S#{call := Call};
        {error, Reason} -> failed(Reason, S)
    end;
send(S) ->
    S.

%% A lease outlives one round that fails.
body(Sessions, #{renew := Every}) ->
    Term = #{lease => max(1, Every * 5 div 2000), sessions => Sessions},
    iolist_to_binary(
        case erlang:function_exported(misc, json_encode, 1) of
            true -> misc:json_encode(Term);
            false -> jiffy:encode(Term)
        end).

post(Body, HTTPOptions, Options, #{url := Url, path := Path, secret := Secret}) ->
    Time = integer_to_binary(erlang:system_time(second)),
    Sum = crypto:mac(hmac, sha256, Secret, [Time, "\nPOST\n", Path, "\n", Body]),
    Headers = [{"x-rollcall-time", binary_to_list(Time)}, {"x-rollcall-signature", "v2=" ++ hex(Sum)}],
    Request = {binary_to_list(Url), Headers, "application/json", Body},
    try
        httpc:request(post, Request, HTTPOptions ++ [{autoredirect, false} | tls(Url)], [{body_format, binary} | Options])
    catch
        error:Reason -> {error, Reason} % the system trusts no certificates
    end.

tls(<<"https:", _/binary>>) ->
    Match = public_key:pkix_verify_hostname_match_fun(https),
    [{ssl, [{verify, verify_peer}, {depth, 10}, {cacerts, public_key:cacerts_get()}, {customize_hostname_check, [{match_fun, Match}]}]}];
tls(_) ->
    [].

hex(Bytes) -> lists:flatten([io_lib:format("~2.16.0b", [B]) || <<B>> <= Bytes]).

answered({{_, 200, _}, _, Body}, #{failures := Failures} = S) ->
    Failures > 0 andalso ?LOG_NOTICE("rollcall answers again", []),
    binary:match(Body, <<"expired_on_arrival">>) =/= nomatch andalso ?LOG_WARNING("rollcall has sessions expired on arrival: the clock of one of the two is wrong", []),
    send(S#{sending := none, failures := 0});
answered({{_, Status, _}, _, Body}, S) when Status =:= 400; Status =:= 413 ->
    ?LOG_ERROR("rollcall refused a report: ~b ~ts", [Status, Body]),
    send(S#{sending := none});
answered({{_, Status, _}, _, Body}, S) ->
    failed({Status, Body}, S);
answered({error, Reason}, S) ->
    failed(Reason, S).

%% failed has the call be made again in 1 s, then 2, up to 30.
failed(Reason, #{failures := Failures} = S) ->
    Failures =:= 0 andalso ?LOG_WARNING("rollcall takes no report: ~p", [Reason]),
    erlang:send_after(min(30, 1 bsl min(Failures, 5)) * 1000, self(), again),
    S#{call := again, failures := Failures + 1}.
