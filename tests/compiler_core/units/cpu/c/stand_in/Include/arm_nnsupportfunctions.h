/*
 * A stand-in for tests: nothing of it is needed.
 * $Revision: V.22.11.0
 */
