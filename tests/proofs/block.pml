/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The life of a block of the hold source: rules 1, 2, 3 and 6.
 *
 * Stands for:
 *	core/hold/surrender.c	one_batch(), aeration_surrender_scrub(),
 *				aeration_surrender_stop()
 *	core/hold/take.c	aeration_take()
 *	core/hold/blocks.c	aeration_blocks_taken(), aeration_blocks_mark(),
 *				aeration_blocks_settle(), give_back(), move_locked(),
 *				pool_add_locked(), quarantine_locked(),
 *				aeration_blocks_fetch(), aeration_blocks_forfeit(),
 *				forfeit_locked(), take_back_locked()
 *	core/hold/restore.c	one_step()
 *	core/batch.c		aeration_batch_submit(), aeration_batch_restore(),
 *				check_states()
 *
 * Processes: who surrenders, RESTORERS that restore (the tick and who reclaims), a
 * backend that says how many cannot be had back, one that changes whether memory is to
 * be zeroed, a guest that uses what is free, and the end: no more goes, and all comes
 * back.
 *
 * The host, in each call: fails it as a whole; or, of each block, does it, does not, does
 * a part, or says nothing of it; and at the end of a call it is done with it.
 *
 * What must hold:
 *	rule 1	a block that the host may be working on is touched by nobody
 *	rule 2	what the guest can have is backed, all of it, and nothing that is backed
 *		is populated (its memory would be lost)
 *	rule 3	each block is in one place, and the counts say where; at the end all are
 *		free again, or quarantined, or the host keeps them and they are held
 *	rule 6	after aerator_set_scrub() no block leaves that was not zeroed
 *
 * A block is in the hands of one process at a time, so what happens to its pages is one
 * step where nobody else can look; everything under blocks.lock is, too.
 */
#ifndef BLOCKS
#define BLOCKS	2
#endif
#ifndef RESTORERS
#define RESTORERS 2
#endif

/* Who has to be at its end before all comes back. */
#ifdef FORFEITS
#define OTHERS	(2 + RESTORERS)
#else
#ifdef SCRUBS
#define OTHERS	(2 + RESTORERS)
#else
#define OTHERS	(1 + RESTORERS)
#endif
#endif

/* enum aerator_block_state */
#define FREE		0
#define ISOLATED	1
#define IN_FLIGHT	2
#define HELD		3
#define RESTORING	4
#define QUARANTINED	5

/* Where a block is. */
#define ALLOCATOR	0
#define TAKEN		1	/* dev->batch */
#define POOL		2
#define FORFEIT		3
#define FETCHED		4	/* restore.batch */
#define LOST		5	/* the quarantine */

/* What is behind it. */
#define NONE		0
#define PART		1
#define ALL		2

byte place[BLOCKS] = ALLOCATOR;
byte backing[BLOCKS] = ALL;
bit told[BLOCKS];		/* the host may be working on it */
bit used[BLOCKS];		/* by the guest */
bit zeroed[BLOCKS];
byte says[BLOCKS];		/* batch->block[].state */

/* blocks.count and .taken, less what was given back; blocks.held_on and .forfeited. */
byte count[6];
byte taken;
byte held_on;
byte forfeited;

bit surrender_lock;
bit restore_lock;
bit blocks_lock;
bit stopped;
bit scrub;
bit promised;			/* aerator_set_scrub(true) has returned */
bit ended;
byte through;			/* so many processes are at their end */
bit host_keeps;			/* the host has nothing to give back */

#define LOCK(what)	atomic { what == 0 -> what = 1 }
#define UNLOCK(what)	what = 0

inline move(from, to)
{
	count[from]--;
	count[to]++
}

/* The last part of the way: its pages are the allocator's. */
inline pages_free(b)
{
	assert(backing[b] == ALL && !told[b] && !used[b]);
	place[b] = ALLOCATOR
}

inline settle_one(b, from, where)
{
	/* Under blocks.lock. */
	d_step {
		assert(place[b] == where && !told[b]);
		move(from, says[b]);
		if
		:: says[b] == HELD ->
			assert(backing[b] == NONE);
			place[b] = POOL;
			says[b] = FREE;
			held_on++
		:: says[b] == QUARANTINED ->
			place[b] = LOST;
			says[b] = FREE
		:: else ->
			assert(says[b] == ISOLATED)
		fi
	};
	if
	:: says[b] == ISOLATED && place[b] == where ->
		/* give_back() */
		d_step {
			count[ISOLATED]--;
			taken--
		};
		d_step {
			zeroed[b] = 0;
			says[b] = FREE;
			pages_free(b)
		}
	:: else
	fi
}

/* aeration_blocks_settle(), of all that are in a place. */
inline settle(from, where)
{
	b = 0;
	do
	:: b < BLOCKS && place[b] == where ->
		settle_one(b, from, where);
		b++
	:: b < BLOCKS && place[b] != where -> b++
	:: b == BLOCKS -> break
	od;
	b = 0
}

/* What a host did to a block that it was given; a durable backend says so. */
inline react_to(b)
{
	if
	:: backing[b] = NONE; says[b] = HELD
	:: says[b] = ISOLATED			/* refused */
	:: backing[b] = PART; says[b] = QUARANTINED
	:: backing[b] = NONE			/* and says nothing */
	fi
}

inline restore_to(b)
{
	/* What is backed is not populated again. */
	assert(backing[b] == NONE);
	if
	:: !host_keeps -> backing[b] = ALL; says[b] = ISOLATED
	:: says[b] = HELD
	:: !host_keeps -> backing[b] = PART; says[b] = QUARANTINED
	:: !host_keeps -> backing[b] = ALL	/* and says nothing */
	fi
}

/* check_states() */
inline check_state(b)
{
	if
	:: says[b] == HELD || says[b] == ISOLATED || says[b] == QUARANTINED
	:: else -> says[b] = QUARANTINED
	fi
}

#define EACH(b, what)	\
	b = 0; \
	do \
	:: b < BLOCKS -> what; b++ \
	:: else -> b = 0; break \
	od

active proctype surrender()
{
	byte b;
	bit any;

end:	do
	:: LOCK(surrender_lock);
		if
		:: stopped -> UNLOCK(surrender_lock); break
		:: else
		fi;
		/* aeration_take(): block by block, as long as there are any. */
		do
		:: atomic {
				b < BLOCKS && place[b] == ALLOCATOR && !used[b] ->
				place[b] = TAKEN;
				zeroed[b] = scrub;
				any = 1
			};
			/* aeration_blocks_taken() */
			d_step {
				count[ISOLATED]++;
				taken++;
				says[b] = ISOLATED;
				b++
			}
		:: atomic { b < BLOCKS -> b++ }
		:: atomic { b == BLOCKS -> b = 0; break }
		od;
		if
		:: !any -> UNLOCK(surrender_lock); goto end
		:: else -> any = 0
		fi;
		if
		:: true ->
			/* The guest needs memory by now: it goes back. */
			settle(ISOLATED, TAKEN);
			UNLOCK(surrender_lock);
			goto end
		:: true
		fi;
		/* aeration_blocks_mark(), set_all() */
		d_step {
			EACH(b,
			     if
			     :: place[b] == TAKEN ->
				move(ISOLATED, IN_FLIGHT);
				says[b] = IN_FLIGHT;
				told[b] = 1;
				assert(backing[b] == ALL);
				assert(!promised || !scrub || zeroed[b])
			     :: else
			     fi)
		};
		/* dev->ops->react() */
		if
		:: d_step {
				/* It fails: every block is as it was. */
				EACH(b,
				     if
				     :: place[b] == TAKEN ->
					told[b] = 0;
					says[b] = ISOLATED
				     :: else
				     fi)
			}
		:: atomic {
				EACH(b,
				     if
				     :: place[b] == TAKEN ->
					react_to(b);
					told[b] = 0;
					check_state(b)
				     :: else
				     fi)
			}
		fi;
		settle(IN_FLIGHT, TAKEN);
		UNLOCK(surrender_lock)
	od;
	through++
}

/* one_step(): up to so many, from the front of the pool. */
inline one_step(nr)
{
	LOCK(restore_lock);
	/* aeration_blocks_fetch(), set_all() */
	d_step {
		got = 0;
		EACH(b,
		     if
		     :: place[b] == POOL && got < nr ->
			place[b] = FETCHED;
			says[b] = RESTORING;
			held_on--;
			move(HELD, RESTORING);
			told[b] = 1;
			got++
		     :: else
		     fi)
	};
	if
	:: got ->
		/* dev->ops->restore() */
		if
		:: d_step {
				/* It fails: no block has any backing. */
				EACH(b,
				     if
				     :: place[b] == FETCHED ->
					told[b] = 0;
					says[b] = HELD
				     :: else
				     fi)
			}
		:: atomic {
				EACH(b,
				     if
				     :: place[b] == FETCHED ->
					restore_to(b);
					told[b] = 0;
					check_state(b)
				     :: else
				     fi)
			}
		fi;
		settle(RESTORING, FETCHED)
	:: else
	fi;
	got = 0;
	UNLOCK(restore_lock)
}

active [RESTORERS] proctype restorer()
{
	byte b, got;

end:	do
	:: !ended && held_on -> one_step(1)
	:: !ended && held_on > 1 -> one_step(BLOCKS)
	:: ended -> break
	od;
	through++
}

/* aerator_forfeit(): one caller at a time, and each block in a step of its own. */
#ifdef FORFEITS
active proctype forfeiter()
{
	byte b, nr;

end:	do
	:: atomic { !ended -> select(nr : 0 .. 1) };
		do
		:: d_step {
				forfeited > nr ->
				/* take_back_locked() */
				b = 0;
				do
				:: place[b] != FORFEIT -> b++
				:: else -> break
				od;
				place[b] = POOL;
				forfeited--;
				held_on++;
				b = 0
			}
		:: d_step {
				forfeited < nr && held_on ->
				/* forfeit_locked() */
				b = 0;
				do
				:: place[b] != POOL -> b++
				:: else -> break
				od;
				place[b] = FORFEIT;
				forfeited++;
				held_on--;
				b = 0
			}
		:: atomic {
				forfeited == nr || (forfeited < nr && !held_on) ->
				nr = 0;
				break
			}
		od
	:: ended -> break
	od;
	/* What is forfeited is the guest's again. */
	atomic {
		b = 0;
		do
		:: b < BLOCKS ->
			if
			:: place[b] == FORFEIT ->
				place[b] = POOL;
				forfeited--;
				held_on++
			:: else
			fi;
			b++
		:: else -> b = 0; break
		od;
		through++
	}
}

#endif

#ifdef SCRUBS
active proctype scrubber()
{
	LOCK(surrender_lock);
	scrub = 1;
	UNLOCK(surrender_lock);
	promised = 1;
	through++
}
#endif

/* The guest writes to what it has, at any time. */
active proctype guest()
{
	byte b;

end:	do
	:: atomic {
			!ended ->
			select(b : 0 .. BLOCKS - 1);
			if
			:: place[b] == ALLOCATOR && !used[b] ->
				assert(backing[b] == ALL && !told[b]);
				used[b] = 1
			:: used[b] ->
				assert(place[b] == ALLOCATOR && backing[b] == ALL && !told[b]);
				used[b] = 0
			:: else
			fi;
			b = 0
		}
	:: ended -> break
	od
}

/* Counts are right whenever they can be read. */
active proctype reader()
{
	byte b, there;

end:	do
	:: d_step {
			!ended ->
			assert(taken == count[ISOLATED] + count[IN_FLIGHT] + count[HELD] +
			       count[RESTORING] + count[QUARANTINED]);
			there = 0;
			EACH(b,
			     if
			     :: place[b] == POOL -> there++
			     :: else
			     fi);
			assert(there == held_on);
			there = 0;
			EACH(b,
			     if
			     :: place[b] == LOST -> there++
			     :: else
			     fi);
			assert(there == count[QUARANTINED]);
			assert(count[HELD] == held_on + forfeited);
			there = 0
		}
	:: ended -> break
	od
}

/* aeration_surrender_stop(), and then aeration_restore_all(). */
active proctype stop()
{
	byte b, got;

	LOCK(surrender_lock);
	stopped = 1;
	UNLOCK(surrender_lock);
	/* None is on its way, and none will be. */
	EACH(b, assert(place[b] != TAKEN));
	assert(count[IN_FLIGHT] == 0);
	if
	:: host_keeps = 1
	:: true
	fi;
	ended = 1;
	/* All others are through, but for one that restores. */
	(through == OTHERS);
	one_step(BLOCKS);
	EACH(b,
	     assert(place[b] == ALLOCATOR || place[b] == LOST || place[b] == POOL);
	     assert(place[b] != ALLOCATOR || backing[b] == ALL));
	assert(count[ISOLATED] == 0 && count[IN_FLIGHT] == 0 && count[RESTORING] == 0);
	assert(taken == count[HELD] + count[QUARANTINED] && forfeited == 0)
}
