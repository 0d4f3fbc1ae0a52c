/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The life of the hold source: rules 3, 5 (never starved by us) and 7.
 *
 * Stands for:
 *	core/hold/source.c	hold_start(), go_on(), hold_stop(), hold_end(),
 *				take_down(), hold_restore(), on_reboot(), hold_tick(),
 *				bring_or_give(), bring_back(), let_go()
 *	core/pace/watch.c	sampler_fn(), watch_looks(), who kicks the sampler
 *	core/hold/surrender.c	one_batch(), surrender_fn(), and what sets and clears
 *				the reasons to surrender nothing
 *	core/hold/restore.c	one_step(), note_result(), pin(), unpin(),
 *				aeration_restore_all(), aeration_blocks_any_due(),
 *				aeration_restore_settle(), _start(), _stop(), _again(),
 *				_quiesce()
 *	core/hold/reclaim.c	on_oom(), await_surrender(), restore_where_short(),
 *				restore_for_oom(), aeration_reclaim_stop()
 *	core/hold/host.c	aerator_quiesce(), aerator_resume()
 *	core/hold/blocks.c	move_locked(): who reads a count without the lock may see
 *				a block on its way, in none of them
 *
 * Processes: the registry (start, stop, go on, end, restore, each at any time while it
 * may be); the tick; the work item that surrenders; a guest that uses what is free, and
 * runs out of memory (OOM); a host that gives, or does not (HOST: and changes its mind);
 * a suspend (SUSPEND); a restart by kexec (KEXEC). BLOCKS blocks of one node.
 *
 * What must hold:
 *	down	nothing that answers to need is taken down before nothing is held, unless
 *		the device goes
 *	calls	no call of the backend without a device, or between aerator_quiesce() and
 *		aerator_resume(), or after the restart has begun
 *	oom	unless the host had none when it was asked last, or the device is quiesced,
 *		nobody is killed while anything of the guest's memory is with us or on
 *		its way
 *	all	who asked for everything, and is told that it is back, has it
 *	pin	while the hypervisor withholds what is held, the kernel does not count on it
 *		and the backend's module stays
 *	back	what is kept comes back, once the host has it (the claim `back`)
 *	end	nobody waits for ever (invalid end states)
 *
 * The model is ahead of the product where Spin has found fault with it. With 0 each of
 * these is what the product did when this was written, and Spin shows what comes of it:
 * DUE_LOOK	aeration_blocks_any_due() reads at one moment, under blocks.lock, whether anything is held
 *		or being restored
 * SETTLE_LOOK	aeration_restore_settle() judges that under restore.lock, as note_result()
 * WAY_LOOK	await_surrender() waits until no batch is under way, from before its first
 *		block is taken until its last has come to rest: one flag, not two counts
 * KEPT		aeration_surrender_start() does not forget that a restart has begun
 */
#define DUE_LOOK	1
#define SETTLE_LOOK	1
#define WAY_LOOK	1
#define KEPT		1

#ifndef BLOCKS
#define BLOCKS	2
#endif
#ifndef LIVES
#define LIVES	2	/* how often the source starts, or goes on */
#endif
#ifndef TRIES
#define TRIES	1	/* of aeration_restore_all() */
#endif

/* enum life */
#define EMPTY	0
#define GIVING	1
#define KEEPING	2

/* enum surrender_stop */
#define QUIESCED	1
#define LEAVING		2
#define RECALL		4
#define OFF		8

byte life = EMPTY;

/* Where blocks are: in use, free, taken and not counted yet; blocks.count. */
byte used;
byte free = BLOCKS;
byte limbo;
byte isolated;
byte in_flight;
byte held;
byte restoring;
bit moving;		/* blocks.lock is held */
bit surplus = 1;	/* some has been free for a window: some may go */

/* surrender.c */
bit surrender_lock;
bit surrender_dev;
byte stopped = OFF;
bit work_queued;
bit work_runs;

/* restore.c, account.c */
bit restore_lock;
bit restore_dev;
bit quiesced;
bit withheld;
bit pinned;

/* watch.c: the sampler is armed */
bit watching;
bit armed;
bit tick_runs;

/* reclaim.c */
bit answers;		/* the OOM notifier is registered */
bit oom_runs;

bit frozen;		/* freezable work is */
bit busy;		/* the registry does something that is not to be frozen */

/* Ghosts. */
bit gives = 1;		/* the host has memory to give */
bit quiet;		/* aerator_quiesce() has returned */
bit restart;		/* the reboot notifier has returned */
bit device;
bit hushed;		/* the device was quiesced meanwhile */
bit freed;		/* a block has come back since the OOM notifier began */
bit short_of;		/* the last restore that asked the host got less than it asked for */

#define LOCK(what)	atomic { what == 0 -> what = 1 }
#define UNLOCK(what)	what = 0

/* One block; who reads without the lock sees it leave, and then arrive. */
inline move(from, to)
{
#if DUE_LOOK && WAY_LOOK
	atomic { from--; to++ }
#else
	atomic { moving == 0 -> moving = 1; from-- };
	atomic { to++; moving = 0 }
#endif
}

#define KICK	armed = watching | armed

#define DUE	(held > 0)

/* aeration_blocks_any_due() */
inline look_due(res)
{
#if DUE_LOOK
	atomic { moving == 0 -> res = (held + restoring > 0) }
#else
	res = (held > 0);
	if
	:: !res -> res = (restoring > 0)
	:: else
	fi
#endif
}

/* give_back(), and the allocator has it. */
inline give_back()
{
	move(isolated, free);
	freed = 1
}

/* one_step(), of all that is held; @enough is left out. */
inline one_step(got)
{
	LOCK(restore_lock);
	if
	:: atomic { restore_dev && !quiesced && held -> got = 0 };
		do
		:: held && n < BLOCKS -> move(held, restoring); n++
		:: atomic { !held || n == BLOCKS -> break }
		od;
		/* dev->ops->restore() */
		assert(device && !quiet);
		do
		:: atomic { n && gives -> n-- };
			move(restoring, isolated);
			give_back();
			got = 1
		:: atomic { n && !gives -> less = 1; n-- };
			move(restoring, held)
		:: atomic { n == 0 -> short_of = less; break }
		od;
		/* note_result() */
		atomic {
			pinned = less;
			withheld = less;
			less = 0;
			restore_lock = 0
		}
	:: atomic { else -> got = 0; restore_lock = 0 }
	fi
}

/* aeration_restore_settle() */
inline settle_withheld()
{
	if
	:: withheld ->
#if SETTLE_LOOK
		LOCK(restore_lock);
#endif
		look_due(due);
		if
		:: atomic { !due -> withheld = 0; pinned = 0 }
		:: atomic { due -> due = 0 }
		fi;
#if SETTLE_LOOK
		UNLOCK(restore_lock)
#endif
	:: else
	fi
}

/* aeration_restore_all(); @all is whether nothing is due any more. */
inline restore_all(all)
{
	left = TRIES;
	do
	:: look_due(due);
		if
		:: atomic { !due || !left || !restore_dev -> break }
		:: else
		fi;
		one_step(done);
		atomic {
			if
			:: done
			:: else -> left--
			fi
		}
	od;
	look_due(due);
	atomic { all = !due; due = 0; done = 0; left = 0 }
}

/* The guest needs what is held: there is less free than there should be. */
#define WANTED	(free == 0 && DUE)

/* Where the hypervisor was short a moment ago it is asked later. */
#ifdef BACK
#define PAUSED	false
#else
#define PAUSED	true
#endif

/* hold_tick(); armed again unless nothing is to be done. */
active proctype tick()
{
	byte n;
	bit less, done, due, next;

end:	do
	:: atomic { armed && watching && !frozen -> armed = 0; tick_runs = 1 };
		if
		:: atomic { WANTED -> next = 1 }
		:: else ->
			settle_withheld();
			atomic {
				if
				:: DUE && (life == KEEPING || withheld) -> next = 1
				:: else
				fi
			}
		fi;
		if
		:: next -> one_step(done)
		:: next && PAUSED
		:: atomic {
				!next ->
				if
				:: life == GIVING && !stopped && surplus && free > 1 ->
					work_queued = 1;
					next = 1
				:: else
				fi
			}
		fi;
		atomic {
			armed = armed | (watching & next);
			tick_runs = 0;
			done = 0;
			next = 0
		}
	od
}

/* surrender_fn(): a batch of one; what is needed is never taken. */
active proctype surrender()
{
end:	do
	:: atomic { work_queued && !frozen -> work_queued = 0; work_runs = 1 };
		LOCK(surrender_lock);
		if
		:: atomic { !stopped && surplus && free > 1 -> free--; limbo++ };
			move(limbo, isolated);
			if
			:: free == 0 -> give_back()
			:: else ->
				move(isolated, in_flight);
				/* dev->ops->react() */
				assert(surrender_dev && device && !quiet && !restart);
				if
				:: move(in_flight, held)
				:: move(in_flight, isolated);
					give_back()
				fi
			fi
		:: else
		fi;
		atomic { surrender_lock = 0; KICK; work_runs = 0 }
	od
}

inline stop_surrender(why)
{
	atomic { surrender_lock == 0 -> stopped = stopped | why }
}

inline go_on_surrender(why)
{
	atomic { surrender_lock == 0 -> stopped = stopped & (15 - why) }
}

inline take_down()
{
	/* aeration_reclaim_stop(): waits for calls under way */
	answers = 0;
	atomic { !oom_runs -> watching = 0 };
	/* aeration_watch_stop() */
	atomic { !tick_runs -> armed = 0 };
	/* aeration_surrender_end() */
	atomic { !work_runs -> work_queued = 0; surrender_dev = 0 };
	/* aeration_restore_stop() */
	atomic { restore_lock == 0 -> restore_dev = 0; short_of = 0 };
	atomic {
		pinned = 0;
		withheld = 1;
		life = EMPTY;
		device = 0
	}
}

active proctype registry()
{
	byte n, left, lives;
	bit less, done, due, all;

end:	do
	:: atomic {
			!frozen && life == EMPTY && lives < LIVES ->
			/* hold_start() */
			lives++;
			busy = 1;
			device = 1;
			withheld = 0
		};
		/* aeration_restore_start() */
		atomic { restore_lock == 0 -> restore_dev = 1; quiesced = 0 };
		/* aeration_surrender_start() */
		atomic {
			surrender_lock == 0 ->
			surrender_dev = 1;
			stopped = OFF | (KEPT * (stopped & LEAVING))
		};
		life = GIVING;
		atomic { watching = 1; armed = 1 };
		answers = 1;
		go_on_surrender(OFF);
		atomic { KICK; busy = 0 }
	:: atomic { !frozen && life != EMPTY -> busy = 1 };
		/* hold_stop() */
		stop_surrender(OFF);
		life = KEEPING;
		restore_all(all);
		if
		:: atomic { moving == 0 && held + restoring == 0 -> all = 0 };
			take_down();
			assert(limbo + isolated + in_flight + held + restoring == 0);
			busy = 0
		:: atomic {
				moving == 0 && held + restoring > 0 ->
				all = 0;
				KICK;
				busy = 0
			}
		fi
	:: atomic { !frozen && life == KEEPING && lives < LIVES -> lives++; busy = 1 };
		/* go_on() */
		atomic { KICK; life = GIVING };
		go_on_surrender(OFF);
		busy = 0
#ifdef ENDS
	:: atomic { !frozen && life == KEEPING -> busy = 1 };
		/* hold_end(): the device goes for good, with what is held */
		restore_all(all);
		take_down();
		atomic { all = 0; busy = 0 }
#endif
#ifdef RESTORES
	:: life != EMPTY ->
		/* hold_restore(), of the work item of requests: not frozen */
		stop_surrender(RECALL);
		restore_all(all);
		assert(!all || held + restoring == 0);
		atomic { all = 0; KICK };
		go_on_surrender(RECALL)
#endif
#ifdef BACK
	/* From now on it leaves the source alone. */
	:: break
#endif
	od
}

/* Uses what is free; and what is its own it may free. */
active proctype guest()
{
end:	do
	:: atomic {
			free -> free--; used++;
			surplus = surplus && free
		}
	:: atomic { used -> used--; free++ }
	/* A window has passed; nobody who is out of memory waits for so long. */
	:: atomic { !surplus && free && !oom_runs -> surplus = 1 }
#ifdef BACK
	/* From now on it keeps what it has. */
	:: break
#endif
	od
}

/* watch_looks(): the deferrable timers see that the guest needs some. */
active proctype timers()
{
end:	do
	:: atomic { WANTED && watching && !armed -> armed = 1 }
	od
}

#ifdef OOM
/* restore_where_short(), of one node */
inline restore_short()
{
	do
	:: one_step(done);
		if
		:: done
		:: else -> break
		fi
	od
}

/* Out of memory: nothing is free, and somebody wants some. */
active proctype oom()
{
	byte n;
	bit less, done;

end:	do
	:: atomic {
			free == 0 && answers ->
			oom_runs = 1;
			freed = 0;
			hushed = quiesced
		};
		restore_short();
		if
		:: !freed ->
			/* await_surrender() */
#if WAY_LOOK
			(!surrender_lock);
#else
			do
			:: isolated == 0;
				if
				:: in_flight == 0 -> break
				:: else
				fi
			od;
#endif
			restore_short()
		:: else
		fi;
		KICK;
		atomic {
			/* One is killed if nothing has come back. */
			assert(freed || free || short_of || hushed ||
			       limbo + isolated + in_flight + held + restoring == 0);
			oom_runs = 0;
			done = 0
		}
	od
}
#endif

#ifdef HOST
active proctype host()
{
end:	do
	:: gives = 0
	:: gives = 1
#ifdef BACK
	/* From now on. */
	:: gives = 1; break
#endif
	od
}
#endif

#ifdef SUSPEND
active proctype suspend()
{
	/* Processes and freezable work; then xb_freeze(), late. */
	atomic { !busy && !tick_runs && !work_runs -> frozen = 1 };
	stop_surrender(QUIESCED);
	atomic { restore_lock == 0 -> quiesced = 1; hushed = hushed | oom_runs };
	quiet = 1;
	/* The domain stands, moves, and goes on; xb_thaw(), early. */
	quiet = 0;
	atomic { restore_lock == 0 -> quiesced = 0 };
	go_on_surrender(QUIESCED);
	atomic { KICK; frozen = 0 }
}
#endif

#ifdef KEXEC
/* on_reboot(); devices are shut down after it, and programs still run. */
active proctype reboot()
{
	byte n, left;
	bit less, done, due, all;

	stop_surrender(LEAVING);
	restore_all(all);
	restart = 1
}
#endif

/* Whenever no restore is judged. */
active proctype observer()
{
end:	do
	:: d_step {
			!restore_lock && !tick_runs && short_of && held && restore_dev ->
			assert(withheld && pinned)
		}
	od
}

#ifdef BACK
/* What is kept comes back once the host has it, and what is needed even before. */
ltl back { (<> [] (gives && life == KEEPING)) -> (<> [] (held == 0)) }
ltl fed { (<> [] (gives && watching)) -> ([] <> !WANTED) }
#endif
