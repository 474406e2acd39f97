# SPDX-License-Identifier: ISC
noinst_LIBRARIES += libipc.a
libipc_a_SOURCES =
