# SPDX-License-Identifier: ISC
noinst_LIBRARIES += libsys.a
libsys_a_SOURCES =
