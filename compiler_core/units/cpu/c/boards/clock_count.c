/* Times every operator by the clock: nanoseconds of several runs, after some that are not told. */
#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <time.h>

enum { MOST = 4096, WARM = 5, RUNS = 31 };
static double spans[MOST][RUNS];
static struct timespec last;
static int turn = -WARM - 1;

void nt_step(int number);
void nt_begin(void);
int nt_again(void);
void nt_report(int count);

static void now(struct timespec *at) { clock_gettime(CLOCK_MONOTONIC, at); }

void nt_begin(void) {
  turn++;
  now(&last);
}

int nt_again(void) { return turn + 1 < RUNS; }

void nt_step(int number) {
  struct timespec at;
  now(&at);
  if (turn >= 0 && number < MOST)
    spans[number][turn] =
        1e9 * (double)(at.tv_sec - last.tv_sec) + (double)(at.tv_nsec - last.tv_nsec);
  now(&last);
}

void nt_report(int count) {
  int i, run;
  for (i = 0; i < count && i < MOST; i++) {
    printf("step %d", i);
    for (run = 0; run < RUNS; run++) printf(" %.0f", spans[i][run]);
    printf("\n");
  }
}
