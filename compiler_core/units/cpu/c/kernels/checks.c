/* The compiler has to shift negative numbers arithmetically and to wrap when it narrows. */
typedef char nt_shifts_arithmetically[((int32_t)-3 >> 1) == -2 ? 1 : -1];
typedef char nt_wraps[(int32_t)0xFFFFFFFEu == -2 ? 1 : -1];
