// The threads that compute: one pool for the whole process, shared by all programs, jobs in the order they come.
// Native only. The thread that asks never computes; it hands a job over and is told when it is done.
#pragma once
#include "pith.h"

namespace pith {

struct Job {
  int threads;                          // 1 .. what pool_open was asked for; thread numbers 0 .. threads - 1
  void (*work)(Job* job, int thread);   // called on each of them
  void (*done)(Job* job);               // called once, by the thread that finished last; the job may be reused then
  Job* next;
};

// Makes sure there are at least `threads` threads and counts one more user. False: the system gives no more threads.
bool pool_open(int threads);
// One user less. With the last one the jobs that are left are finished and the threads end.
void pool_close();
void pool_post(Job* job);

// Barrier for all threads of the job that is running (Run::meet).
void pool_meet(const Run& run, int thread);

// Scratch of LOCAL_BYTES of a pool thread (Run::local).
uint8_t* pool_local(int thread);

}  // namespace pith
