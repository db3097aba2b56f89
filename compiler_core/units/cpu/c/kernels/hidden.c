/* Where a pointer leads is loaded anew in every turn of a loop: kept, it would fill registers. */
#if defined(__GNUC__)
#define NT_HIDE(pointer) __asm__ volatile("" : "+r"(pointer))
#else
#define NT_HIDE(pointer)
#endif
