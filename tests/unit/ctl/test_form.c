/* SPDX-License-Identifier: ISC */
#include <check.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/form.h"

static char *text;

static json_t *
rows_of(const char *json)
{
	json_error_t e;
	json_t *rows = json_loads(json, 0, &e);

	ck_assert_msg(rows != NULL, "%s: %s", json, e.text);
	return rows;
}

/* Compares and says what there was. */
static void
ck_form(bool xml, const char *json, const char *name, const char *status,
    const char *message, const char *want)
{
	json_t *rows = rows_of(json), *tree = form_tree(rows, name);
	size_t n;
	FILE *f = open_memstream(&text, &n);

	ck_assert_ptr_nonnull(f);
	if (xml)
		form_xml(f, tree, status, message);
	else
		form_dom(f, tree, status, message);
	fclose(f);
	ck_assert_str_eq(text, want);
	free(text);
	text = NULL;
	json_decref(tree);
	json_decref(rows);
}

static void
ck_xml(const char *json, const char *want)
{
	ck_form(true, json, "queue", "success", "", want);
}

static void
ck_dom(const char *json, const char *want)
{
	char lines[1024];

	snprintf(lines, sizeof(lines), "%srsp.status=\"success\"\n", want);
	ck_form(false, json, "queue", "success", "", lines);
}

START_TEST(test_xml_rows_are_elements)
{
	ck_xml("[]", "<rsp><data></data><succ/></rsp>\n");
	ck_xml("[{\"name\":\"a.org/v\",\"rcp\":3},{\"name\":\"b\"}]",
	    "<rsp><data><queue><name>a.org/v</name><rcp>3</rcp></queue>"
	    "<queue><name>b</name></queue></data><succ/></rsp>\n");
}
END_TEST

START_TEST(test_xml_values_of_all_types)
{
	ck_xml("[{\"i\":-5,\"r\":0.5,\"t\":true,\"f\":false,\"n\":null,"
	    "\"s\":\"\",\"o\":{},\"a\":[],\"b\":[1,{\"x\":2},\"y\"]}]",
	    "<rsp><data><queue><i>-5</i><r>0.5</r><t>true</t><f>false</f>"
	    "<n/><s/><o></o><b>1</b><b><x>2</x></b><b>y</b></queue></data>"
	    "<succ/></rsp>\n");
}
END_TEST

START_TEST(test_xml_escapes_all_that_is_not_plain)
{
	ck_xml("[{\"s\":\"<a href=\\\"x\\\">&amp;]]>\"}]",
	    "<rsp><data><queue><s>&lt;a href=&quot;x&quot;&gt;&amp;amp;]]&gt;"
	    "</s></queue></data><succ/></rsp>\n");
	ck_xml("[{\"s\":\"\\t\\n\\r\\u007f\\u009b\\u00fc\\u20ac\\ud83d"
	    "\\ude00\"}]",
	    "<rsp><data><queue><s>&#x9;&#xA;&#xD;&#x7F;&#x9B;&#xFC;&#x20AC;"
	    "&#x1F600;</s></queue></data><succ/></rsp>\n");
}
END_TEST

/* An XML parser refuses these, also as &#x1B; */
START_TEST(test_xml_impossible_characters_are_replaced)
{
	ck_xml("[{\"s\":\"\\u0001\\u001b[2J\\ufffe\\uffff\"}]",
	    "<rsp><data><queue><s>&#xFFFD;&#xFFFD;[2J&#xFFFD;&#xFFFD;</s>"
	    "</queue></data><succ/></rsp>\n");
}
END_TEST

START_TEST(test_xml_keys_that_are_no_names_are_attributes)
{
	ck_xml("[{\"1m\":1,\"a b\":{\"x\":2},\"\":3,\"<\\\"&\":null,"
	    "\"xmlns\":4,\"max-rate\":5}]",
	    "<rsp><data><queue><item name=\"1m\">1</item>"
	    "<item name=\"a b\"><x>2</x></item><item name=\"\">3</item>"
	    "<item name=\"&lt;&quot;&amp;\"/><item name=\"xmlns\">4</item>"
	    "<max-rate>5</max-rate></queue></data><succ/></rsp>\n");
}
END_TEST

START_TEST(test_xml_says_how_it_ended)
{
	ck_form(true, "[]", "queue", "success", "1 of 2 <rows>",
	    "<rsp><data></data><message>1 of 2 &lt;rows&gt;</message><succ/>"
	    "</rsp>\n");
	ck_form(true, "[]", "queue", "failed", "no",
	    "<rsp><data></data><message>no</message><failed/></rsp>\n");
	/* from a daemon, and not UTF-8 */
	ck_form(true, "[]", "queue", "misuse", "a\xff\xc3",
	    "<rsp><data></data><message>a&#xFFFD;&#xFFFD;</message><misuse/>"
	    "</rsp>\n");
}
END_TEST

START_TEST(test_dom_is_paths)
{
	ck_dom("[]", "");
	ck_dom("[{\"name\":\"a\",\"o\":{\"x\":1,\"y\":[true,null]}},"
	    "{\"name\":\"b\",\"1m\":{\"c\\\"\":0.5},\"e\":[],\"d-e\":[{}]}]",
	    "queue[0].name=\"a\"\n"
	    "queue[0].o.x=\"1\"\n"
	    "queue[0].o.y[0]=\"true\"\n"
	    "queue[0].o.y[1]=\"\"\n"
	    "queue[1].name=\"b\"\n"
	    "queue[1][\"1m\"][\"c\\\"\"]=\"0.5\"\n");
}
END_TEST

START_TEST(test_dom_escapes_what_could_end_a_value)
{
	ck_dom("[{\"s\":\"a\\\"b\\\\c\\nqueue[9].x=\\\"1\\r\\u001b\\u0085"
	    "\\u00fc\\ud83d\\ude00\"}]",
	    "queue[0].s=\"a\\\"b\\\\c\\nqueue[9].x=\\\"1\\u000D\\u001B\\u0085"
	    "\\u00FC\\uD83D\\uDE00\"\n");
}
END_TEST

START_TEST(test_dom_says_how_it_ended)
{
	ck_form(false, "[]", "queue", "failed", "there is no \"x\"",
	    "rsp.status=\"failed\"\n"
	    "rsp.message=\"there is no \\\"x\\\"\"\n");
}
END_TEST

#define STATUS "[{\"status\":\"stopping\",\"version\":\"1.0\"," \
	"\"hostName\":\"h.org\",\"started\":\"2026-01-31T14:05:09Z\"," \
	"\"now\":null,\"uptime_s\":7,\"traffic\":{" \
	"\"in\":{\"rcp\":1,\"msg\":2,\"kb\":3},\"out\":{\"rcp\":4}}," \
	"\"conn\":{\"smtpOut\":5," \
	"\"smtpOutConnecting\":6},\"queue\":{\"rcp\":8,\"dom\":9," \
	"\"retry\":10},\"spool\":{\"segmentsWriting\":1," \
	"\"segmentsSealed\":20,\"segmentsEmpty\":300," \
	"\"segmentsRecycled\":4000},\"processes\":[{\"name\":\"smtp\"}]}]"

START_TEST(test_status_has_the_names_of_powermta)
{
	ck_form(false, STATUS, "status", "success", "",
	    "status.status=\"stopping\"\n"
	    "status.startupTime=\"2026-01-31T14:05:09Z\"\n"
	    "status.timeNow=\"\"\n"
	    "status.uptime_s=\"7\"\n"
	    "status.traffic.total.in.rcp=\"1\"\n"
	    "status.traffic.total.in.msg=\"2\"\n"
	    "status.traffic.total.in.kb=\"3\"\n"
	    "status.traffic.total.out.rcp=\"4\"\n"
	    "status.conn.smtpOut.cur=\"5\"\n"
	    "status.conn.smtpOutConnecting=\"6\"\n"
	    "status.queue.smtp.rcp=\"8\"\n"
	    "status.queue.smtp.dom=\"9\"\n"
	    "status.queue.retry=\"10\"\n"
	    "status.spool.segmentsWriting=\"1\"\n"
	    "status.spool.segmentsSealed=\"20\"\n"
	    "status.spool.segmentsEmpty=\"300\"\n"
	    "status.spool.files.recycled=\"4000\"\n"
	    "status.spool.files.inUse=\"21\"\n"
	    "status.spool.files.total=\"4321\"\n"
	    "status.spool.totalRcp=\"8\"\n"
	    "status.processes[0].name=\"smtp\"\n"
	    "status.shuttingDown=\"true\"\n"
	    "mta.product.version=\"1.0\"\n"
	    "mta.fullHostName=\"h.org\"\n"
	    "rsp.status=\"success\"\n");
}
END_TEST

START_TEST(test_status_that_is_refused_has_no_rows)
{
	ck_form(true, "[]", "status", "failed", "",
	    "<rsp><data></data><failed/></rsp>\n");
}
END_TEST

int
main(void)
{
	const TTest *const tests[] = {
		test_xml_rows_are_elements,
		test_xml_values_of_all_types,
		test_xml_escapes_all_that_is_not_plain,
		test_xml_impossible_characters_are_replaced,
		test_xml_keys_that_are_no_names_are_attributes,
		test_xml_says_how_it_ended,
		test_dom_is_paths,
		test_dom_escapes_what_could_end_a_value,
		test_dom_says_how_it_ended,
		test_status_has_the_names_of_powermta,
		test_status_that_is_refused_has_no_rows,
	};
	TCase *tc = tcase_create("form");
	Suite *s = suite_create("form");
	SRunner *sr = srunner_create(s);
	bool ok;

	suite_add_tcase(s, tc);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tcase_add_test(tc, tests[i]);
	srunner_run_all(sr, CK_ENV);
	ok = srunner_ntests_failed(sr) == 0;
	srunner_free(sr);
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
