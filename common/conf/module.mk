# SPDX-License-Identifier: ISC
noinst_LIBRARIES += libconf.a
libconf_a_SOURCES = \
	common/conf/alias.c \
	common/conf/block.c \
	common/conf/build.c \
	common/conf/blocks.def common/conf/conf.h common/conf/rules.h \
	common/conf/schema.def \
	common/conf/lists.c \
	common/conf/load.c \
	common/conf/macro.c \
	common/conf/manual.c \
	common/conf/names.c \
	common/conf/node.c \
	common/conf/pattern.c \
	common/conf/pool.c \
	common/conf/query.c \
	common/conf/reader.c \
	common/conf/refs.c \
	common/conf/regex.c \
	common/conf/reply.c \
	common/conf/report.c \
	common/conf/schema.c \
	common/conf/show.c \
	common/conf/store.c common/conf/store.h \
	common/conf/system.c \
	common/conf/value.c common/conf/value.h \
	common/conf/warmup.c \
	common/conf/wire.c

check_PROGRAMS += tests/unit/conf/test_conf tests/unit/conf/test_value
TESTS += tests/unit/conf/test_conf tests/unit/conf/test_value
check_PROGRAMS += tests/unit/conf/test_conf_file
TESTS += tests/unit/conf/test_conf_file
check_PROGRAMS += tests/unit/conf/test_blocks
TESTS += tests/unit/conf/test_blocks
tests_unit_conf_test_blocks_SOURCES = tests/unit/conf/test_blocks.c \
	tests/unit/conf/mistakes.h
tests_unit_conf_test_blocks_LDADD = $(LIB_CONF) $(LIBS_CHECK)
check_PROGRAMS += tests/unit/conf/test_rules
TESTS += tests/unit/conf/test_rules
tests_unit_conf_test_rules_SOURCES = tests/unit/conf/test_rules.c \
	tests/unit/conf/mistakes.h
tests_unit_conf_test_rules_LDADD = $(LIB_CONF) $(LIBS_CHECK)
EXTRA_DIST += tests/unit/conf/powermta.config \
	tests/unit/conf/powermta-all.config
tests_unit_conf_test_conf_file_SOURCES = tests/unit/conf/test_conf_file.c
tests_unit_conf_test_conf_file_LDADD = $(LIB_CONF) $(LIBS_CHECK)
tests_unit_conf_test_conf_SOURCES = tests/unit/conf/test_conf.c
tests_unit_conf_test_conf_LDADD = $(LIB_CONF) $(LIBS_CHECK)
tests_unit_conf_test_value_SOURCES = tests/unit/conf/test_value.c
tests_unit_conf_test_value_LDADD = $(LIB_CONF) $(LIBS_CHECK)
check_PROGRAMS += tests/unit/conf/test_warmup
TESTS += tests/unit/conf/test_warmup
tests_unit_conf_test_warmup_SOURCES = tests/unit/conf/test_warmup.c \
	tests/unit/conf/mistakes.h
tests_unit_conf_test_warmup_LDADD = $(LIB_CONF) $(LIBS_CHECK)
check_PROGRAMS += tests/unit/conf/test_receivers
TESTS += tests/unit/conf/test_receivers
tests_unit_conf_test_receivers_SOURCES = tests/unit/conf/test_receivers.c \
	tests/unit/conf/mistakes.h
tests_unit_conf_test_receivers_LDADD = $(LIB_CONF) $(LIBS_CHECK)
check_PROGRAMS += tests/unit/conf/test_alias
TESTS += tests/unit/conf/test_alias
tests_unit_conf_test_alias_SOURCES = tests/unit/conf/test_alias.c \
	tests/unit/conf/mistakes.h
tests_unit_conf_test_alias_LDADD = $(LIB_CONF) $(LIBS_CHECK)
