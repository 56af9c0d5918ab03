// See load.h. Threads take chunks of whole panels from the front load, read them into a buffer of their own and pack.
// They go when there was nothing to do for a while: loading happens once, in a burst.
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

namespace pith {

namespace {

constexpr int64_t CHUNK_BYTES = int64_t(1) << 18;
constexpr int LINGER_MS = 50;

pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;   // guards all that follows and the fields of queued loads
pthread_cond_t more = PTHREAD_COND_INITIALIZER;
Load* front = nullptr;
Load** last = &front;
int running = 0, idle = 0;

// Reads `bytes` at `offset`; returns 0, an error number or SHORT_READ.
int read_all(int fd, uint8_t* into, int64_t bytes, int64_t offset, int64_t* end) {
  while (bytes > 0) {
    ssize_t n = pread(fd, into, size_t(bytes), off_t(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0) {
      struct stat now;
      *end = fstat(fd, &now) == 0 ? int64_t(now.st_size) : offset;
      return SHORT_READ;
    }
    into += n;
    offset += n;
    bytes -= n;
  }
  return 0;
}

// With the lock held: takes the load out of the queue; nobody takes more chunks of it.
void unlink(Load* load) {
  Load** at = &front;
  while (*at && *at != load) at = &(*at)->following;
  if (!*at) return;
  *at = load->following;
  if (!*at) last = at;
}

// With the lock held: no more chunks of it, for this reason (the first one counts).
void give_up(Load* load, int error, int64_t end) {
  if (!load->error) {
    load->error = error;
    load->end = end;
  }
  unlink(load);
  load->next = load->rows;
}

// What a thread reads into.
struct Buffer {
  uint8_t* data = nullptr;
  int64_t bytes = 0;

  bool grow(int64_t wanted) {
    if (wanted <= bytes) return true;
    free(data);
    data = static_cast<uint8_t*>(malloc(size_t(wanted)));
    bytes = data ? wanted : 0;
    return data;
  }
};

// One chunk of `load`, which this thread has taken under the lock.
void read_chunk(Load* load, int64_t row, int64_t rows, Buffer* buffer) {
  int64_t row_size = int64_t(row_bytes(load->type, load->cols)), bytes = rows * row_size, end = 0;
  int error = buffer->grow(bytes) ? 0 : ENOMEM;
  if (!error) error = read_all(load->fd, buffer->data, bytes, load->offset + row * row_size, &end);
  if (!error) return pack_rows(load->dst, load->type, load->rows, load->cols, row, rows, buffer->data, load->heads);
  pthread_mutex_lock(&lock);
  give_up(load, error, end);
  pthread_mutex_unlock(&lock);
}

void* loader_main(void*) {
  Buffer buffer;
  pthread_mutex_lock(&lock);
  for (;;) {
    while (!front) {
      timespec until;
      clock_gettime(CLOCK_REALTIME, &until);
      until.tv_nsec += LINGER_MS * 1'000'000L;
      if (until.tv_nsec >= 1'000'000'000L) {
        until.tv_nsec -= 1'000'000'000L;
        until.tv_sec++;
      }
      idle++;
      int timed_out = pthread_cond_timedwait(&more, &lock, &until);
      idle--;
      if (timed_out && !front) {
        running--;
        pthread_mutex_unlock(&lock);
        free(buffer.data);
        return nullptr;
      }
    }
    Load* load = front;
    if (load->fd < 0) load->fd = open(load->path, O_RDONLY | O_CLOEXEC);
    if (load->fd < 0) give_up(load, errno, 0);
    int64_t row = load->next, rows = load->rows - row < load->chunk ? load->rows - row : load->chunk;
    load->next += rows;
    load->busy++;
    if (load->next >= load->rows) unlink(load);
    pthread_mutex_unlock(&lock);

    if (rows > 0) read_chunk(load, row, rows, &buffer);

    pthread_mutex_lock(&lock);
    if (--load->busy == 0 && load->next >= load->rows) {
      pthread_mutex_unlock(&lock);
      if (load->fd >= 0) close(load->fd);
      load->done(load);
      pthread_mutex_lock(&lock);
    }
  }
}

}  // namespace

bool load_start(Load* load, int threads) {
  int64_t row_size = int64_t(row_bytes(load->type, load->cols));
  int64_t panels = CHUNK_BYTES / (row_size * PANEL + 1);
  load->chunk = (panels > 0 ? panels : 1) * PANEL;
  load->next = 0;
  load->busy = 0;
  load->fd = -1;
  load->error = 0;
  load->end = 0;
  load->following = nullptr;
  pthread_mutex_lock(&lock);
  *last = load;
  last = &load->following;
  while (running < threads && idle == 0) {
    pthread_t thread;
    if (pthread_create(&thread, nullptr, loader_main, nullptr) != 0) break;
    pthread_detach(thread);
    running++;
  }
  bool good = running > 0;
  if (!good) unlink(load);
  pthread_cond_broadcast(&more);
  pthread_mutex_unlock(&lock);
  return good;
}

void load_cancel(Load* load) {
  pthread_mutex_lock(&lock);
  bool untaken = load->busy == 0 && load->next < load->rows;
  if (load->next < load->rows || load->busy > 0) give_up(load, CANCELLED, 0);
  pthread_mutex_unlock(&lock);
  if (!untaken) return;
  if (load->fd >= 0) close(load->fd);
  load->done(load);
}

}  // namespace pith
