/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The one request of the core, and all who have to do with it.
 *
 * Stands for, in core/request.c:
 *	request_fn(), do_it(), is_cancelled()	worker
 *	start()					start
 *	await_turn()				await_turn
 *	run(), is_waited_for(), give_up()	asker
 *	aeration_request_start()		starter
 *	aeration_request_cancel(), aeration_request_exit()	others
 *
 * Processes: the work item; ASKERS that wait for theirs, one of them a backend's; one
 * that does not wait; one that cancels, at any time; signals and a backend that does not
 * want it any more, at any time; the end of the module, at any time. What is read
 * without the lock is read in a step of its own. Who sleeps is woken by wake_up_all()
 * only, or by a signal.
 *
 * What must hold:
 *	one at a time	do_it() runs for one request, and that is the one under way
 *	out		what became of it is written only while its owner waits for just
 *			that, and nobody reads it who was not told
 *	cancel		who is not cancelled is not cut short
 *	asker		a backend's functions are called only before it has left
 *	exit		nothing runs, is queued or begins after aeration_request_exit()
 *	no end of waiting: nobody sleeps for ever (invalid end states), and everybody
 *			leaves at last (the claim `leaves`, with weak fairness)
 *
 * OWN_END: who gave up waits for the end of its own request, not for a moment without
 * any. 0 is what core/request.c does: with ENDLESS requests of others it may wait for
 * ever, and no signal ends that.
 */
#ifndef ASKERS
#define ASKERS	2
#endif
#define OWN_END	1

#define NOBODY	15

#define NONE	0
#define RUNNING	1
#define ENDED	2

/* What a call returns. */
#define OK	0
#define BUSY	1
#define NODEV	2
#define INTR	3
#define SIGNALLED 4

/* struct request */
bit lock;
byte state = NONE;
bit cancelled;
byte asker = NOBODY;	/* whose functions are asked */
byte out = NOBODY;	/* whose pointer it is */
bit live = 1;

/* The work item. */
bit queued;
bit working;

/* Of each asker: it is in run(); it was written to; somebody signals it; its host has
 * changed its mind; it sleeps; it is through. */
bit inside[ASKERS];
bit written[ASKERS];
bit signalled[ASKERS];
bit unwanted[ASKERS];
bit asleep[ASKERS];
bit left[ASKERS];

/* Ghosts: whose request is under way; is the module about to go? */
byte owner = NOBODY;
bit exited;
byte doing;
bit meant;	/* somebody has cancelled just this one */

/* What is done under the lock is one step, unless a part of it is seen without. */
#define LOCKED	lock == 0
#ifdef ENDLESS
#define SEEN		/* a spinlock is fair: nobody waits for ever for it */
#else
#define SEEN }; atomic {
#endif

/* How often a flush asks whether it is wanted. */
#define STEPS	1

/*
 * wait_event(): who sleeps has looked after it has said that it sleeps, so both are one
 * step here; it looks again when it is woken.
 */
inline wake_up_all()
{
	d_step {
		asleep[0] = 0;
		asleep[ASKERS - 1] = 0
	}
}

/* is_cancelled(): the flag, and then the backend. */
inline look_cancelled(res)
{
	atomic {
		res = cancelled;
		assert(!res || meant)
	};
	if
	:: !res && asker != NOBODY ->
		assert(inside[asker]);
		res = unwanted[asker]
	:: else
	fi
}

active proctype worker()
{
	bit stop;
	byte steps;

end:	do
	:: atomic { queued -> queued = 0; working = 1 };
		atomic {
			doing++;
			assert(doing == 1 && state == RUNNING && !exited)
		};
		look_cancelled(stop);
		/* A flush is done in steps; each ends. */
		do
		:: atomic { !stop && steps < STEPS -> steps++ };
			look_cancelled(stop)
		:: atomic { doing--; break }
		od;
		/* That it has ended is seen before it is told. */
		atomic {
			lock == 0 -> lock = 1;
			assert(state == RUNNING);
			state = ENDED;
			SEEN
			if
			:: out != NOBODY ->
				assert(inside[out] && owner == out);
				written[out] = 1;
				out = NOBODY
			:: else
			fi;
			owner = NOBODY;
			lock = 0
		};
		wake_up_all();
		atomic {
			assert(!exited);
			working = 0;
			stop = 0;
			steps = 0
		}
	od
}

inline start(who, ret)
{
	atomic {
		LOCKED ->
		if
		:: !live -> ret = NODEV
		:: live && state == RUNNING -> ret = BUSY
		:: else ->
			assert(owner == NOBODY && out == NOBODY && !exited);
			ret = OK;
			state = RUNNING;
			owner = who;
			/* The first is a backend's. */
			asker = (who == 0 -> 0 : NOBODY);
			out = who;
			cancelled = 0;
			meant = 0;
			queued = 1
		fi
	}
}

/* wait_event_interruptible_timeout(): the condition counts before the signal. */
inline await_turn(me, ret)
{
	do
	:: atomic { me == 0 && unwanted[0] -> ret = INTR; break }
	:: atomic {
			me != 0 || !unwanted[0] ->
again:			if
			:: state != RUNNING -> ret = OK; break
			:: state == RUNNING && signalled[me] ->
				ret = SIGNALLED; break
			:: else -> asleep[me] = 1
			fi
		};
		if
		:: atomic { !asleep[me] || signalled[me] -> asleep[me] = 0; goto again }
		:: atomic { asleep[me] = 0 }	/* TURN_MS are over */
		fi
	od
}

proctype ask(byte me)
{
	byte ret;
	inside[me] = 1;
	do
	:: await_turn(me, ret);
		if
		:: ret != OK -> goto leave
		:: else
		fi;
		start(me, ret);
		if
		:: ret == BUSY
		:: ret == NODEV -> goto leave
		:: ret == OK -> break
		fi
	od;
	/* wait_event_interruptible(!is_waited_for()) */
	do
	:: atomic {
			LOCKED ->
			if
			:: out != me -> goto told
			:: out == me && signalled[me] -> break
			:: else -> asleep[me] = 1
			fi
		};
		atomic { !asleep[me] || signalled[me] -> asleep[me] = 0 }
	od;
	/* give_up() */
	atomic {
		LOCKED ->
		if
		:: out == me -> out = NOBODY; cancelled = 1; meant = 1
		:: else -> goto told
		fi
	};
	/* Who asks must not go before what asks it. */
	do
	:: me != 0 -> goto leave
	:: atomic {
			me == 0 ->
			if
			:: state != RUNNING || (OWN_END && owner != me) -> goto leave
			:: else -> asleep[me] = 1
			fi
		};
		(!asleep[me])
	od;
told:	assert(written[me]);
leave:	atomic {
		assert(out != me);
		inside[me] = 0;
		written[me] = 0;
		left[me] = 1
	}
}

active proctype starter()
{
	byte ret;

#ifdef ENDLESS
end:	do
	:: start(NOBODY, ret)
	od
#else
	start(NOBODY, ret)
#endif
}

#ifndef EVENTS
#define EVENTS	2
#endif

/* So many of these, in any order and at any time; or fewer. */
active proctype others()
{
#ifdef ENDLESS
	/* Once it is on its way. */
	(owner == 0);
	signalled[0] = 1
#else
	byte events;

end:	do
	:: atomic {
			events < EVENTS -> events++;
			if
			:: signalled[0] = 1
			:: unwanted[0] = 1
			:: signalled[ASKERS - 1] = 1
			:: LOCKED && state == RUNNING ->	/* cancel */
				cancelled = 1;
				meant = 1
			:: LOCKED && live ->			/* exit */
				live = 0;
				cancelled = 1;
				meant = 1
			fi
		}
	:: atomic {
			!live && !exited && !queued && !working ->
			exited = 1;			/* flush_work() */
			assert(state != RUNNING && out == NOBODY)
		}
	od
#endif
}

init
{
	atomic {
		run ask(0);
#if ASKERS > 1
		run ask(1);
#endif
	}
}

#ifdef ENDLESS
/* The first is through as soon as it may be, whatever others ask. */
ltl leaves { [] ((owner == 0) -> <> left[0]) }
#else
#if ASKERS == 1
ltl leaves { <> left[0] }
#else
ltl leaves { <> (left[0] && left[1]) }
#endif
#endif
