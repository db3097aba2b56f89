/* Included before the model: calls nt_step after every operator. */
void nt_step(int number);
#define NT_STEP(number) nt_step(number);
