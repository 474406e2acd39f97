/* SPDX-License-Identifier: ISC */
/*
 * The protocol of doc/spool.md between smtpd, qmgr, a delivery worker and the
 * two readers of the event log, with the death of each and of the machine.
 * tests/model/check-model runs it through SPIN: every order of events and
 * every place of a death is tried. With -DBREAK_x a rule of the protocol is
 * broken; then SPIN has to find what goes wrong.
 *
 * N messages with one recipient each go through; each message has a segment of
 * its own and may end in a DSN. An event of the log is in qmgr's memory (MEM),
 * in the kernel (WRITTEN), or durable (SYNCED); a record is absent, WRITTEN or
 * SYNCED. KILLS processes die, the machine POWER times, LOSSES connections are
 * lost behind the final dot and SYNCFAILS syncs of a segment fail.
 *
 * What must hold, named as in tests/README.md:
 *	I1 acknowledged: delivered, or a durable DSN exists, at the end
 *	I3 copies <= 1 + announced doubts (+ power cuts)
 *	I6 at most one DSN
 *	I9 exactly one accounting line
 */
#ifndef N
#define N 1
#endif
#ifndef KILLS
#define KILLS 2
#endif
#ifndef POWER
#define POWER 0
#endif
#ifndef LOSSES
#define LOSSES 1
#endif
#ifndef SYNCFAILS
#define SYNCFAILS 0
#endif

#define NONE    0
#define MEM     1
#define WRITTEN 2
#define SYNCED  3

/* the rules that -DBREAK_x can break and that are conditions */
#ifdef BREAK_ACK_RESULT_EARLY
#define RESULT_IS_SAFE(i) 1
#else
#define RESULT_IS_SAFE(i) (m[i].out != MEM && m[i].doubt != MEM)
#endif
#ifdef BREAK_DSN_TWICE
#define NO_OLD_DSN(i) 1
#else
#define NO_OLD_DSN(i) (!m[i].dtail)
#endif
#ifdef BREAK_RECYCLE
#define END_IS_SAFE(i) (m[i].out >= WRITTEN)
#else
#define END_IS_SAFE(i) (m[i].out == SYNCED && \
	(!m[i].failed || m[i].bounced == SYNCED))
#endif

/* what the client knows */
#define IDLE    0
#define SENT    1
#define ACKED   2
#define REFUSED 3

/* qmgr */
#define DEAD    0
#define ALIVE   1

/* a recipient in qmgr's memory */
#define UNKNOWN  0
#define READY    1
#define INFLIGHT 2
#define BOUNCING 3
#define DONE     4

/* smtpd and bounce, per message */
#define W_NONE   0
#define W_WRITE  1   /* record written */
#define W_DURABLE 2  /* synced */
#define W_TOLD   3   /* COMMIT sent, if there was somebody */
#define W_END    4

/* the worker, per message */
#define S_NONE    0
#define S_HAS     1   /* has a DELIVER */
#define S_DOT     2   /* final dot sent, the server has not decided */
#define S_TAKEN   3   /* the server has it, its 250 is on the way */
#define S_OK      4   /* result: delivered */
#define S_REJECT  5   /* result: permanent failure */
#define S_DOUBT   6   /* result: in doubt */

/* intent slots */
#define I_EMPTY 0
#define I_DOT   1
#define I_OK    2

byte kills = KILLS, power = POWER, losses = LOSSES, fails = SYNCFAILS;
byte cuts;                     /* power cuts so far */
bool smtpd = 1, worker = 1, bounce = 1, acct = 1;
bool qmgr = 1;
bool resynced = 1;             /* the worker told this qmgr what it has */
bool intents_read = 1;         /* of the worker that died */

typedef message {
	byte client;
	byte rec, smtpd, acc;  /* record; its writer; ACCEPT */
	bool commit;           /* a COMMIT is in the channel */
	bool tail;             /* qmgr has yet to read the old segment */
	bool gone;             /* segment was given back */
	byte state;            /* in qmgr */
	byte worker, intent;
	bool recorded;         /* RESULT taken, not acknowledged */
	byte out;              /* final ATTEMPT */
	bool failed;           /* which it is */
	byte doubt;            /* ATTEMPT in doubt */
	byte copies, doubts;   /* at the receiver; announced */
	byte bounce, drec;     /* writer of the DSN, its record */
	bool dcommit, dtail;
	bool dknown;           /* the DSN is in the queue */
	byte dacc, bounced;    /* its ACCEPT, BOUNCED of the original */
	byte ndsn;             /* DSNs ever taken into the queue */
	bool csv, csv_durable, offset; /* acct: line written, synced, noted */
	byte lines;
}
message m[N];

inline accept(i)
{
	if
	:: m[i].state == UNKNOWN && !m[i].gone ->
		m[i].state = READY;
		m[i].acc = MEM
	:: else
	fi
}

/* The DSN and the end of what it reports are one turn of qmgr's. */
inline accept_dsn(i)
{
	if
	:: !m[i].dknown ->
		m[i].dknown = 1;
		m[i].dacc = MEM;
		m[i].ndsn++;
		assert(m[i].ndsn <= 1);             /* I6 */
		if
		:: m[i].state == BOUNCING ->
			m[i].state = DONE;
			m[i].bounced = MEM
		:: else
		fi
	:: else
	fi
}

/* What was found in a segment is written anew and synced. */
inline tail_read(i)
{
	m[i].tail = 0;
	if
	:: m[i].rec >= WRITTEN && m[i].state == UNKNOWN && !m[i].gone ->
		m[i].rec = SYNCED;
		accept(i)
	:: else
	fi
}

inline dsn_tail_read(i)
{
	m[i].dtail = 0;
	if
	:: m[i].drec >= WRITTEN && !m[i].dknown ->
#ifndef BREAK_TAIL_SYNC
		m[i].drec = SYNCED;
#endif
		accept_dsn(i)
	:: else
	fi
}

/* One slot of a dead worker's intent file. */
inline intent_apply(i)
{
	if
	:: m[i].intent == I_OK &&
	    (m[i].state == READY || m[i].state == INFLIGHT) ->
		m[i].out = MEM;
		m[i].failed = 0;
		m[i].state = DONE
#ifndef BREAK_DOUBT
	:: m[i].intent == I_DOT && m[i].state == READY ->
		m[i].doubt = MEM
	:: m[i].intent == I_DOT && m[i].state == INFLIGHT ->
		m[i].doubt = MEM;
		m[i].state = READY
#endif
	:: else ->
		if
		:: m[i].state == INFLIGHT -> m[i].state = READY
		:: else
		fi
	fi
}

inline lose_mem(level)
{
	if
	:: level == MEM -> level = NONE
	:: else
	fi
}

inline log_all_written(i)
{
	if :: m[i].acc == MEM -> m[i].acc = WRITTEN :: else fi;
	if :: m[i].out == MEM -> m[i].out = WRITTEN :: else fi;
	if :: m[i].dacc == MEM -> m[i].dacc = WRITTEN :: else fi;
	if :: m[i].bounced == MEM -> m[i].bounced = WRITTEN :: else fi;
	if
	:: m[i].doubt == MEM ->
		m[i].doubt = WRITTEN;
		m[i].doubts++
	:: else
	fi
}

inline log_all_synced(i)
{
	if :: m[i].acc == WRITTEN -> m[i].acc = SYNCED :: else fi;
	if :: m[i].out == WRITTEN -> m[i].out = SYNCED :: else fi;
	if :: m[i].dacc == WRITTEN -> m[i].dacc = SYNCED :: else fi;
	if :: m[i].bounced == WRITTEN -> m[i].bounced = SYNCED :: else fi;
	if :: m[i].doubt == WRITTEN -> m[i].doubt = NONE :: else fi
}

/* Recovery: checkpoint and log, then tails of all segments. */
inline recover(i)
{
	log_all_synced(i);
	m[i].dknown = (m[i].dacc == SYNCED);
	if
	:: m[i].out == SYNCED && (!m[i].failed || m[i].bounced == SYNCED) ->
		m[i].state = DONE
	:: m[i].out == SYNCED && m[i].failed && m[i].bounced != SYNCED ->
		m[i].state = BOUNCING
	:: m[i].out != SYNCED && m[i].acc == SYNCED ->
		m[i].state = READY;
		/* a message in the queue has its record */
		assert(m[i].rec != NONE || m[i].client != ACKED)
	:: else ->
		m[i].state = UNKNOWN
	fi;
	if
	:: m[i].state == READY && m[i].rec == NONE ->
		/* was never acknowledged: reported and put aside */
		m[i].state = DONE;
		m[i].out = SYNCED;
		m[i].failed = 0
	:: else
	fi;
	tail_read(i);
	dsn_tail_read(i);
	/* a DSN in the log without the end of its original */
	if
	:: m[i].dknown && m[i].state == BOUNCING ->
		m[i].state = DONE;
		m[i].bounced = MEM
	:: else
	fi;
	/* writers that live may commit into the old segment until SEG_DONE */
	m[i].tail = smtpd;
	m[i].dtail = bounce;
	/* a durable end of the original has a durable DSN */
	assert(m[i].bounced != SYNCED || m[i].drec == SYNCED)
}

/* ---- deaths ---- */

inline smtpd_dies(i)
{
	if :: m[i].client == SENT -> m[i].client = REFUSED :: else fi;
	if
	:: m[i].smtpd != W_NONE && m[i].smtpd != W_END -> m[i].tail = 1
	:: else
	fi;
	if :: m[i].client != IDLE -> m[i].smtpd = W_END :: else fi
}

inline bounce_dies(i)
{
	if
	:: m[i].bounce != W_NONE -> m[i].dtail = 1
	:: else
	fi;
	m[i].bounce = W_NONE
}

inline worker_dies(i)
{
	m[i].worker = S_NONE;
	m[i].recorded = 0
}

inline acct_dies(i)
{
	/* the new one cuts the file to the length that its offset names */
	if
	:: m[i].csv && !m[i].offset ->
		m[i].csv = 0;
		m[i].csv_durable = 0;
#ifndef BREAK_CSV_CUT
		m[i].lines--
#endif
	:: else
	fi
}

inline qmgr_dies(i)
{
	lose_mem(m[i].acc);
	lose_mem(m[i].out);
	lose_mem(m[i].dacc);
	lose_mem(m[i].bounced);
	lose_mem(m[i].doubt);
	m[i].commit = 0;
	m[i].dcommit = 0;
	m[i].recorded = 0;
	m[i].state = UNKNOWN;
	m[i].dknown = 0;
	if :: m[i].dacc == NONE && m[i].ndsn > 0 -> m[i].ndsn-- :: else fi
}

/* Of what is in the kernel only, any prefix of the log and any record. */
inline power_cut(i)
{
	if
	:: m[i].rec == WRITTEN -> m[i].rec = NONE
	:: m[i].rec == WRITTEN -> m[i].rec = SYNCED
	:: m[i].rec != WRITTEN
	fi;
	if
	:: m[i].drec == WRITTEN -> m[i].drec = NONE
	:: m[i].drec == WRITTEN -> m[i].drec = SYNCED
	:: m[i].drec != WRITTEN
	fi;
	if
	:: m[i].acc == WRITTEN -> m[i].acc = NONE
	:: m[i].acc == WRITTEN -> m[i].acc = SYNCED
	:: m[i].acc != WRITTEN
	fi;
	if
	:: m[i].out == WRITTEN -> m[i].out = NONE
	:: m[i].out == WRITTEN && m[i].acc == SYNCED -> m[i].out = SYNCED
	:: m[i].out != WRITTEN
	fi;
	if
	:: m[i].dacc == WRITTEN -> m[i].dacc = NONE; m[i].ndsn--
	:: m[i].dacc == WRITTEN && m[i].out == SYNCED -> m[i].dacc = SYNCED
	:: m[i].dacc != WRITTEN
	fi;
	if
	:: m[i].bounced == WRITTEN -> m[i].bounced = NONE
	:: m[i].bounced == WRITTEN && m[i].dacc == SYNCED ->
		m[i].bounced = SYNCED
	:: m[i].bounced != WRITTEN
	fi;
	m[i].doubt = NONE;
	if
	:: m[i].intent = I_EMPTY
	:: m[i].intent == I_OK -> m[i].intent = I_DOT
	:: skip
	fi;
	if
	:: m[i].csv && !m[i].csv_durable ->
		m[i].csv = 0;
		m[i].lines--
	:: else
	fi
}

/* ---- one message: what each process may do with it ---- */

proctype mail(byte i)
{
end:	do
	/* smtpd: receive, append, sync, tell, acknowledge */
	:: atomic { smtpd && m[i].client == IDLE && m[i].smtpd == W_NONE ->
		m[i].client = SENT;
		m[i].rec = WRITTEN;
		m[i].smtpd = W_WRITE }
	:: atomic { m[i].smtpd == W_WRITE ->
		m[i].rec = SYNCED;
		m[i].smtpd = W_DURABLE }
	:: atomic { m[i].smtpd == W_WRITE && fails > 0 ->
		/* the segment is given up; nothing in it is acknowledged */
		fails--;
		m[i].client = REFUSED;
		m[i].smtpd = W_END;
		/* SEG_DONE says that it ends before this record; a qmgr that
		 * does not hear it may find the record */
		if
		:: qmgr && m[i].state == UNKNOWN && !m[i].tail ->
			m[i].rec = NONE
		:: else
		fi }
	:: atomic { m[i].smtpd == W_DURABLE ->
		m[i].commit = (qmgr && !m[i].tail);
		m[i].smtpd = W_TOLD }
	:: atomic { m[i].smtpd == W_TOLD ->
#ifndef BREAK_ACK_EARLY
		assert(m[i].rec == SYNCED || m[i].gone);
#endif
		m[i].client = ACKED;
		m[i].smtpd = W_END }
#ifdef BREAK_ACK_EARLY
	:: atomic { m[i].smtpd == W_WRITE ->
		m[i].client = ACKED;
		m[i].smtpd = W_END;
		m[i].commit = (qmgr && !m[i].tail) }
#endif

	/* qmgr: intake */
	:: atomic { qmgr && m[i].commit ->
		m[i].commit = 0;
		accept(i) }
	:: atomic { qmgr && m[i].tail && !m[i].commit &&
	    (m[i].smtpd == W_NONE || m[i].smtpd == W_END ||
	    m[i].smtpd == W_TOLD) ->
#ifdef BREAK_NO_TAIL
		m[i].tail = 0
#else
		tail_read(i)
#endif
		}
	/* qmgr: the end of a turn, and the sync */
	:: atomic { qmgr && (m[i].acc == MEM || m[i].out == MEM ||
	    m[i].dacc == MEM || m[i].bounced == MEM || m[i].doubt == MEM) ->
		log_all_written(i) }
	:: atomic { qmgr && m[i].acc != MEM && m[i].out != MEM &&
	    m[i].dacc != MEM && m[i].bounced != MEM && m[i].doubt != MEM &&
	    (m[i].acc == WRITTEN || m[i].out == WRITTEN ||
	    m[i].dacc == WRITTEN || m[i].bounced == WRITTEN ||
	    m[i].doubt == WRITTEN) ->
		log_all_synced(i) }

	/* dispatch, delivery */
	:: atomic { qmgr && worker && resynced && intents_read &&
	    m[i].state == READY && m[i].acc >= WRITTEN &&
	    m[i].doubt != MEM && m[i].worker == S_NONE &&
	    m[i].intent == I_EMPTY ->
		m[i].state = INFLIGHT;
		m[i].worker = S_HAS }
	:: atomic { worker && m[i].worker == S_HAS ->
#ifdef BREAK_NO_INTENT
		m[i].intent = I_EMPTY;
#else
		m[i].intent = I_DOT;
#endif
		m[i].worker = S_DOT }
	:: atomic { worker && m[i].worker == S_DOT ->
		m[i].copies++;
		assert(m[i].rec != NONE);
		m[i].worker = S_TAKEN }
	:: atomic { worker && m[i].worker == S_DOT ->
		m[i].intent = I_EMPTY;
		m[i].worker = S_REJECT }
	:: atomic { worker && losses > 0 &&
	    (m[i].worker == S_DOT || m[i].worker == S_TAKEN) ->
		losses--;
		m[i].worker = S_DOUBT }
	:: atomic { worker && m[i].worker == S_TAKEN ->
		m[i].intent = I_OK;
		m[i].worker = S_OK }
	/* qmgr: the RESULT, then its RESULT_ACK */
	:: atomic { qmgr && worker && resynced && intents_read &&
	    !m[i].recorded && m[i].worker >= S_OK ->
		m[i].recorded = 1;
		if
		:: m[i].state == INFLIGHT || m[i].state == READY ->
			if
			:: m[i].worker == S_OK ->
				m[i].out = MEM;
				m[i].failed = 0;
				m[i].state = DONE
			:: m[i].worker == S_REJECT ->
				m[i].out = MEM;
				m[i].failed = 1;
				m[i].state = BOUNCING
			:: else ->
				m[i].doubt = MEM;
				m[i].state = READY
			fi
		:: else
		fi }
	:: atomic { qmgr && worker && m[i].recorded && RESULT_IS_SAFE(i) ->
		m[i].recorded = 0;
		m[i].intent = I_EMPTY;
		m[i].worker = S_NONE }

	/* bounce: sees what is durable, writes the DSN, tells */
	:: atomic { bounce && qmgr && m[i].state == BOUNCING &&
	    m[i].out == SYNCED && m[i].bounce == W_NONE && NO_OLD_DSN(i) &&
	    !m[i].dcommit && !m[i].dknown ->
		assert(m[i].drec == NONE);          /* I6 */
		m[i].drec = WRITTEN;
		m[i].bounce = W_WRITE }
	:: atomic { bounce && m[i].bounce == W_WRITE ->
		m[i].drec = SYNCED;
		m[i].bounce = W_DURABLE }
	:: atomic { bounce && m[i].bounce == W_DURABLE ->
		m[i].dcommit = (qmgr && !m[i].dtail);
		m[i].bounce = W_END }
#ifdef BREAK_DSN_ORDER
	:: atomic { qmgr && bounce && m[i].bounce == W_WRITE &&
	    m[i].state == BOUNCING ->
		m[i].state = DONE;
		m[i].bounced = MEM }
#endif
	:: atomic { qmgr && m[i].dcommit ->
		m[i].dcommit = 0;
		accept_dsn(i) }
	:: atomic { qmgr && m[i].dtail && !m[i].dcommit &&
	    (!bounce || m[i].bounce == W_NONE || m[i].bounce == W_END) ->
		dsn_tail_read(i);
		if :: m[i].bounce == W_END -> m[i].bounce = W_NONE :: else fi }

	/* acct: one line for the final outcome */
	:: atomic { acct && m[i].out == SYNCED && !m[i].csv &&
	    m[i].client != IDLE ->
		m[i].csv = 1;
		m[i].lines++;
		assert(m[i].lines <= 1) }
	:: atomic { acct && m[i].csv && !m[i].csv_durable ->
		m[i].csv_durable = 1 }
	:: atomic { acct && m[i].csv_durable && !m[i].offset ->
		m[i].offset = 1 }

	/* the segment goes back when its last event is durable */
	:: atomic { qmgr && m[i].state == DONE && !m[i].gone &&
	    m[i].rec != NONE && !m[i].tail && END_IS_SAFE(i) ->
		m[i].gone = 1;
		m[i].rec = NONE }
	od
}

#define FOR_ALL(what) i = 0; do :: i < N -> what(i); i++ :: else -> break od

proctype world()
{
	byte i;

end:	do
	:: atomic { kills > 0 && smtpd ->
		kills--; smtpd = 0; FOR_ALL(smtpd_dies) }
	:: atomic { kills > 0 && bounce ->
		kills--; bounce = 0; FOR_ALL(bounce_dies) }
	:: atomic { kills > 0 && acct ->
		kills--; acct = 0; FOR_ALL(acct_dies) }
	:: atomic { kills > 0 && worker ->
		kills--; worker = 0; intents_read = 0;
		FOR_ALL(worker_dies) }
	:: atomic { kills > 0 && qmgr ->
		kills--; qmgr = 0; FOR_ALL(qmgr_dies) }
	:: atomic { power > 0 ->
		power--; cuts++;
		FOR_ALL(qmgr_dies);
		FOR_ALL(smtpd_dies);
		FOR_ALL(bounce_dies);
		FOR_ALL(worker_dies);
		FOR_ALL(power_cut);
		FOR_ALL(acct_dies);
		smtpd = 0; bounce = 0; acct = 0; worker = 0; qmgr = 0;
		intents_read = 0 }

	/* the master starts them again */
	:: atomic { !smtpd -> smtpd = 1 }
	:: atomic { !bounce -> bounce = 1 }
	:: atomic { !acct -> acct = 1 }
	:: atomic { !qmgr ->
		FOR_ALL(recover);
		qmgr = 1;
		resynced = 0 }
	/* a dead worker's intents: recorded and written, then removed */
	:: atomic { qmgr && !worker && !intents_read ->
		FOR_ALL(intent_apply);
#ifndef BREAK_INTENT_DROP
		FOR_ALL(log_all_written);
#endif
		i = 0;
		do
		:: i < N -> m[i].intent = I_EMPTY; i++
		:: else -> break
		od;
		intents_read = 1;
		resynced = 1 }
	:: atomic { !worker && qmgr && intents_read -> worker = 1 }
	/* a live worker tells a new qmgr what it has: a DELIVER without a dot
	 * is given back, a dot without an answer is held */
	:: atomic { qmgr && worker && !resynced ->
		i = 0;
		do
		:: i < N ->
			if
			:: m[i].worker == S_HAS -> m[i].worker = S_NONE
			:: (m[i].worker == S_DOT ||
			    m[i].worker == S_TAKEN) &&
			    m[i].state == READY ->
				m[i].state = INFLIGHT
			:: else
			fi;
			i++
		:: else -> break
		od;
		resynced = 1 }

	/* nothing moves any more: the account */
	:: timeout ->
		i = 0;
		do
		:: i < N ->
			assert(m[i].client == ACKED ||
			    m[i].client == REFUSED);
			assert(m[i].client != ACKED ||
			    m[i].state == DONE);            /* I1 */
			assert(m[i].client != ACKED ||
			    m[i].failed || m[i].copies >= 1);
			assert(m[i].state != DONE || !m[i].failed ||
			    (m[i].ndsn == 1 && m[i].drec == SYNCED));
			assert(m[i].copies <=
			    1 + m[i].doubts + cuts);        /* I3 */
			assert(m[i].copies == 0 || m[i].out == SYNCED);
			assert(m[i].out != SYNCED ||
			    m[i].lines == 1 || m[i].client == REFUSED);
			i++
		:: else -> break
		od;
		break
	od
}

init {
	byte n = 0;
	atomic {
		do
		:: n < N -> run mail(n); n++
		:: else -> break
		od;
		run world()
	}
}
