/* Lets a program run once: who calls it takes the time. */
void nt_begin(void);
int nt_again(void);
void nt_report(int count);

void nt_begin(void) {}

int nt_again(void) { return 0; }

void nt_report(int count) { (void)count; }
