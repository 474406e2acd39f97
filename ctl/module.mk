# SPDX-License-Identifier: ISC
bin_PROGRAMS += ctl/pinnace
ctl_pinnace_SOURCES = \
	ctl/client.c \
	ctl/command.c \
	ctl/completion.c \
	ctl/ctl.h \
	ctl/explain.c \
	ctl/form.c ctl/form.h \
	ctl/form_tree.c \
	ctl/local.c \
	ctl/main.c \
	ctl/resolve.c \
	ctl/simulate.c \
	ctl/spool.c \
	ctl/table.c ctl/table.h \
	ctl/top.c ctl/top.h \
	ctl/top_head.c \
	ctl/top_screen.c \
	ctl/top_table.c \
	ctl/trace.c \
	ctl/usage.c ctl/usage.h \
	ctl/view.c ctl/view.h \
	ctl/warmup.c
ctl_pinnace_CFLAGS = $(AM_CFLAGS) $(NCURSESW_CFLAGS)
ctl_pinnace_LDADD = libworld.a libsched.a $(LIB_CONF) $(LIBS_OS) \
	$(JANSSON_LIBS) $(PCRE2_LIBS) $(NCURSESW_LIBS)

check_PROGRAMS += tests/unit/ctl/test_ctl
TESTS += tests/unit/ctl/test_ctl
tests_unit_ctl_test_ctl_SOURCES = tests/unit/ctl/test_ctl.c
tests_unit_ctl_test_ctl_LDADD = $(LIB_IPC) $(LIBS_CHECK) $(JANSSON_LIBS)

check_PROGRAMS += tests/unit/ctl/test_top
TESTS += tests/unit/ctl/test_top
tests_unit_ctl_test_top_SOURCES = tests/unit/ctl/test_top.c \
	ctl/form.c ctl/form_tree.c ctl/table.c ctl/top_head.c \
	ctl/top_table.c ctl/view.c
tests_unit_ctl_test_top_LDADD = $(LIB_SYS) $(LIBS_CHECK) $(JANSSON_LIBS)

check_PROGRAMS += tests/unit/ctl/test_form
TESTS += tests/unit/ctl/test_form
tests_unit_ctl_test_form_SOURCES = tests/unit/ctl/test_form.c \
	ctl/form.c ctl/form_tree.c
tests_unit_ctl_test_form_LDADD = $(LIB_MAIL) $(LIBS_CHECK) $(JANSSON_LIBS)

# The schema knows all directives: the page is made from it.
man5_MANS = doc/man/pinnace-config.5
CLEANFILES += doc/man/pinnace-config.5
doc/man/pinnace-config.5: ctl/pinnace$(EXEEXT)
	$(AM_V_GEN)$(MKDIR_P) doc/man && ctl/pinnace$(EXEEXT) manual >$@.tmp \
	    && mv $@.tmp $@

# The table of commands knows what shells complete.
COMPLETIONS = ctl/completion/pinnace ctl/completion/_pinnace \
	ctl/completion/pinnace.fish
bashcompletiondir = $(datadir)/bash-completion/completions
nodist_bashcompletion_DATA = ctl/completion/pinnace
zshcompletiondir = $(datadir)/zsh/site-functions
nodist_zshcompletion_DATA = ctl/completion/_pinnace
fishcompletiondir = $(datadir)/fish/vendor_completions.d
nodist_fishcompletion_DATA = ctl/completion/pinnace.fish
CLEANFILES += $(COMPLETIONS)
COMPLETION = $(AM_V_GEN)$(MKDIR_P) ctl/completion && \
	ctl/pinnace$(EXEEXT) completion
ctl/completion/pinnace: ctl/pinnace$(EXEEXT)
	$(COMPLETION) bash >$@.tmp && mv $@.tmp $@
ctl/completion/_pinnace: ctl/pinnace$(EXEEXT)
	$(COMPLETION) zsh >$@.tmp && mv $@.tmp $@
ctl/completion/pinnace.fish: ctl/pinnace$(EXEEXT)
	$(COMPLETION) fish >$@.tmp && mv $@.tmp $@

dist_check_SCRIPTS += tests/unit/ctl/test_completion
TESTS += tests/unit/ctl/test_completion
