/* Times every operator by the clock: the median of several runs, in nanoseconds. */
#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { MOST = 4096, RUNS = 31 };
static double spans[MOST][RUNS];
static struct timespec last;
static int turn = -1;

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

static int order(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

void nt_report(int count) {
  int i;
  for (i = 0; i < count; i++) {
    qsort(spans[i], RUNS, sizeof spans[i][0], order);
    printf("step %d %.0f\n", i, spans[i][RUNS / 2]);
  }
}
