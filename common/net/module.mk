# SPDX-License-Identifier: ISC
noinst_LIBRARIES += libnet.a
libnet_a_SOURCES =
