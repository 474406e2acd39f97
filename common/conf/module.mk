# SPDX-License-Identifier: ISC
noinst_LIBRARIES += libconf.a
libconf_a_SOURCES = \
	common/conf/conf.h common/conf/schema.def common/conf/value.h
